"""A masked cotangent times a number a channel, in the passes of the mask alone.

A batch norm's gradient needs a·dz with dz = dy·m, where m is 1 where the activation behind the norm lets the
gradient pass and 0 elsewhere. Written plainly that is m, dy·m and a·dz: three passes over floats. Here m is
kept as one byte a value and becomes

    a·m = DequantizeLinear(m, scale = a, axis = channel)

in the pass that makes it a float anyway, so a·dz = dy·(a·m) is the only product. (ONNX operator
DequantizeLinear: y = (x - zero point)·scale, per axis since opset 13.)
"""

from __future__ import annotations

import math

import onnx_ir as ir

from tta.export.layers import along
from tta.export.operators import Operators, dims, rank

LARGE = 32768  # values a frame from which a map leaves the fast caches between its two uses
_BYTE = ir.DataType.UINT8.value


def scaled(op: Operators, dz: ir.Value, a: ir.Value) -> ir.Value:
    """a·dz for a ``(C,)`` and dz ``(N, C, ...)``; the mask in dz, if it has one, takes a.

    What computed dz itself is left without a use, and goes with the dead nodes.
    """
    product = dz.producer()
    if product is not None and product.op_type == "Mul":
        for k in (0, 1):
            dy, factor = product.inputs[1 - k], product.inputs[k]
            mask = None if factor is None else _mask(factor)
            if mask is not None and dy is not None:
                byte = op.Cast(mask, to=_BYTE)
                known = [d for d in dims(dy)[1:] if isinstance(d, int)]
                late = a if math.prod(known) < LARGE else after(op, a, dy)
                return op.Mul(dy, op.DequantizeLinear(byte, late, axis=1))
    return op.Mul(dz, along(op, a, dz, 1))


def after(op: Operators, a: ir.Value, dy: ir.Value) -> ir.Value:
    """The vector a, but not before dy is there.

    Everything else that a float mask needs is known early, and onnxruntime would write it then, to read it
    back from memory much later.
    """
    n = rank(dy)
    corner = op.Slice(dy, [0] * n, [1] * n, list(range(n)))
    return op.Add(a, op.Mul(op.Reshape(corner, [1]), 0.0))


def _mask(factor: ir.Value) -> ir.Value | None:
    """The booleans behind a mask of zeros and ones, None where the factor is something else."""
    node = factor.producer()
    if node is None or node.inputs[0] is None:
        return None
    source = node.inputs[0]
    if node.op_type == "Cast" and source.dtype == ir.DataType.BOOL:
        return source
    return None
