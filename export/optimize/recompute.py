"""Computes a norm's input again on the way back instead of keeping it: memory for time.

With batch statistics the way back needs each norm's input u. Where u = conv(f(norm(v))) and v is kept, u
costs one affine, one activation and one convolution more, and its memory is free between the two uses. Of a
chain of such layers every second input is kept (Chen et al., "Training deep nets with sublinear memory
cost", arXiv:1604.06174, section 3, with segments of two layers); masks, a byte a value, always are.

The statistics are not taken again: the affine has them already.
"""

from __future__ import annotations

import onnx_ir as ir

from tta.export.operators import Operators
from tta.export.optimize.scaled_mask import after

_ACTIVATIONS = ("Relu", "Clip")
_ROOTS = {"BatchNormalization": 1, "Conv": 2}  # the node that begins, and its input that waits


def chain(u: ir.Value) -> list[ir.Node]:
    """The nodes that make u from what is kept, in order; empty where u must be kept itself."""
    found: list[ir.Node] = []
    node = u.producer()
    while node is not None and node.op_type in ("Conv", *_ACTIVATIONS, "BatchNormalization"):
        found.append(node)
        root = node.op_type in _ROOTS and len(found) > 1
        if root:
            waits = _ROOTS[node.op_type]
            steered = len(node.inputs) > waits and node.inputs[waits] is not None
            ready = steered and all(i is None or i.const_value is None for i in node.inputs[1:])
            return found[::-1] if ready else []
        given = node.inputs[0]
        node = None if given is None else given.producer()
    return []


def again(op: Operators, nodes: list[ir.Node], dy: ir.Value) -> ir.Value:
    """The output of such a chain, computed once more, but not before dy is there."""
    value: ir.Value | None = None
    for node in nodes:
        inputs = list(node.inputs)
        if value is None:
            waits = _ROOTS[node.op_type]
            vector = inputs[waits]
            assert vector is not None
            inputs[waits] = after(op, vector, dy)
        else:
            inputs[0] = value
        (value,) = op.node(node.op_type, inputs, dict(node.attributes))
    assert value is not None
    return value
