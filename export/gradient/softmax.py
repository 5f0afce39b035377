"""Adjoints of the normalized exponentials, from their outputs alone."""

from __future__ import annotations

from tta.export.gradient import Rule
from tta.export.gradient._static import first
from tta.export.operators import Operators
from tta.export.tape import Cotangents, Record


def softmax(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = eˣ / Σ eˣ: dL/dx = y (dL/dy - Σ y dL/dy), the sum over the softmax's axis."""
    dy, y = first(dys), node.outputs[0]
    weighted = op.Mul(dy, y)
    total = op.ReduceSum(weighted, [node.get("axis", -1)], keepdims=1)
    return [op.Sub(weighted, op.Mul(y, total))]


def log_softmax(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x - ln Σ eˣ: dL/dx = dL/dy - eʸ Σ dL/dy, the sum over the softmax's axis."""
    dy, y = first(dys), node.outputs[0]
    total = op.ReduceSum(dy, [node.get("axis", -1)], keepdims=1)
    return [op.Sub(dy, op.Mul(op.Exp(y), total))]


RULES: dict[str, Rule] = {"Softmax": softmax, "LogSoftmax": log_softmax}
