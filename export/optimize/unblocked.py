"""1x1 convolutions of large maps stay out of onnxruntime's blocked layout.

On CPUs onnxruntime runs a convolution with a constant kernel in blocks of channels and reorders what goes in
and comes out, unless its neighbour is blocked too. Between norms no neighbour is, and a 1x1 convolution is
one matrix product that gains nothing from blocks: measured (1, 96, 112, 112) to 16 channels, 0.57 ms
as it comes against 0.34 ms and 0.43 ms of reordering. A computed kernel stays as it comes, so here it is

    W·(0·α + 1)

which equals W for every finite α, and whose adjoint is as cheap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from tta.export.layers import attribute, vector
from tta.export.operators import Operators, dims

LARGE_MAP = 196  # positions from which reordering costs more than blocks gain


def suits(node: ir.Node) -> bool:
    """Whether a node is such a convolution: 1x1, one group, stride 1, no padding, a large map."""
    if node.op_type != "Conv" or node.inputs[0] is None or node.inputs[0].shape is None:
        return False
    weight = vector(node.inputs[1])
    positions = [d for d in dims(node.inputs[0])[2:] if isinstance(d, int)]
    return (
        weight is not None
        and math.prod(weight.shape[2:]) == 1
        and attribute(node, "group", 1) == 1
        and set(attribute(node, "strides", (1,))) == {1}
        and not any(attribute(node, "pads", (0,)))
        and len(positions) == weight.ndim - 2
        and math.prod(positions) >= LARGE_MAP
    )


def kernel(
    op: Operators, weight: ir.Value, alpha: ir.Value, shape: Sequence[int] | None = None
) -> ir.Value:
    """The kernel as a computed value, in another shape if one is given.

    It is multiplied as a plain vector: onnxruntime's broadcast takes trailing axes of length 1 one by one.
    """
    one = op.Add(op.Mul(alpha, 0.0), 1.0)
    return op.Reshape(
        op.Mul(op.Reshape(weight, [-1]), one), dims(weight) if shape is None else list(shape)
    )
