"""Undo broadcasting: sum a cotangent over the axes that the forward repeated."""

from __future__ import annotations

import onnx_ir as ir

from tta.export.operators import Operators, dims


def unbroadcast(op: Operators, gradient: ir.Value, like: ir.Value, out: ir.Value) -> ir.Value:
    """Reduce ``gradient``, shaped like ``out``, to the shape of the operand ``like``.

    If y = f(broadcast(x)), then dL/dx sums dL/dy over every axis along which x was repeated.
    """
    target, full = dims(like), dims(out)
    lead = len(full) - len(target)
    inner = [lead + k for k, (d, f) in enumerate(zip(target, full[lead:])) if d == 1 and f != 1]
    repeated = [*range(lead), *inner]
    if not repeated:
        return gradient
    if not inner:
        return op.ReduceSum(gradient, repeated, keepdims=0)
    summed = op.ReduceSum(gradient, repeated, keepdims=1)
    return op.Squeeze(summed, list(range(lead))) if lead else summed
