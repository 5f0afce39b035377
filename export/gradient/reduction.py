"""Adjoints of reductions: what was summed is repeated, what was chosen is masked."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import numpy as np
import onnx_ir as ir

from tta.export.gradient import Rule
from tta.export.gradient._static import axis, first, integers
from tta.export.operators import Operators, dims, rank
from tta.export.tape import Cotangents, Record

Derivative = Callable[[Operators, Record, ir.Value, ir.Value, ir.Value, list[int]], ir.Value]


def reduced_axes(node: Record) -> list[int]:
    """The axes that a node of the Reduce family or a global pooling sums over, from the front."""
    x = node.x()
    if node.op_type.startswith("Global"):
        return list(range(2, rank(x)))
    axes = integers(node, 1)
    if axes is None and "axes" in node.attributes:
        axes = list(node.attributes["axes"])
    if not axes:
        return [] if node.get("noop_with_empty_axes", 0) else list(range(rank(x)))
    return sorted(axis(a, x) for a in axes)


def repeat(op: Operators, gradient: ir.Value, x: ir.Value, axes: list[int]) -> ir.Value:
    """``gradient``, of length 1 along ``axes``, repeated there to the shape of ``x``."""
    target = [1] * rank(x)
    for k in axes:
        length = dims(x)[k]
        if not isinstance(length, int):
            return op.Expand(gradient, op.Shape(x))
        target[k] = length
    return op.Expand(gradient, target)


def reduction(derivative: Derivative) -> Rule:
    """A rule from dL/dx = derivative(op, node, x, y, dL/dy, axes); y and dL/dy keep the axes."""

    @wraps(derivative)
    def rule(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
        if not node.active[0]:
            return [None]
        x, y, dy, axes = node.x(), node.outputs[0], first(dys), reduced_axes(node)
        if axes and not node.get("keepdims", 1):
            y, dy = op.Unsqueeze(y, axes), op.Unsqueeze(dy, axes)
        return [derivative(op, node, x, y, dy, axes)]

    return rule


@reduction
def total(
    op: Operators, node: Record, x: ir.Value, y: ir.Value, dy: ir.Value, axes: list[int]
) -> ir.Value:
    """For y = Σ x: dL/dx = dL/dy, repeated."""
    return repeat(op, dy, x, axes) if axes else dy


@reduction
def mean(
    op: Operators, node: Record, x: ir.Value, y: ir.Value, dy: ir.Value, axes: list[int]
) -> ir.Value:
    """For y = Σ x / n: dL/dx = dL/dy / n, repeated."""
    if not axes:
        return dy
    lengths = [dims(x)[k] for k in axes]
    static = [d for d in lengths if isinstance(d, int)]
    if len(static) == len(lengths):
        share = op.Mul(dy, 1.0 / float(np.prod(static)))
    else:
        count = op.ReduceProd(op.Gather(op.Shape(x), axes), keepdims=0)
        share = op.Div(dy, op.Cast(count, to=ir.DataType.FLOAT))
    return repeat(op, share, x, axes)


@reduction
def extremum(
    op: Operators, node: Record, x: ir.Value, y: ir.Value, dy: ir.Value, axes: list[int]
) -> ir.Value:
    """For y = max x or min x: dL/dx = dL/dy [x = y] / number of ties."""
    if not axes:
        return dy
    hits = op.Cast(op.Equal(x, y), to=ir.DataType.FLOAT)
    return op.Mul(hits, op.Div(dy, op.ReduceSum(hits, axes, keepdims=1)))


@reduction
def l1(
    op: Operators, node: Record, x: ir.Value, y: ir.Value, dy: ir.Value, axes: list[int]
) -> ir.Value:
    """For y = Σ |x|: dL/dx = dL/dy sign(x)."""
    return op.Mul(op.Sign(x), dy)


@reduction
def l2(
    op: Operators, node: Record, x: ir.Value, y: ir.Value, dy: ir.Value, axes: list[int]
) -> ir.Value:
    """For y = √Σ x²: dL/dx = dL/dy x / y, 0 where y is 0."""
    return op.Mul(x, op.Div(dy, op.Max(y, 1e-30)))


@reduction
def sum_square(
    op: Operators, node: Record, x: ir.Value, y: ir.Value, dy: ir.Value, axes: list[int]
) -> ir.Value:
    """For y = Σ x²: dL/dx = 2 dL/dy x."""
    return op.Mul(x, op.Mul(dy, 2.0))


@reduction
def log_sum(
    op: Operators, node: Record, x: ir.Value, y: ir.Value, dy: ir.Value, axes: list[int]
) -> ir.Value:
    """For y = ln Σ x: dL/dx = dL/dy e⁻ʸ, repeated."""
    share = op.Mul(dy, op.Exp(op.Neg(y)))
    return repeat(op, share, x, axes) if axes else share


@reduction
def log_sum_exp(
    op: Operators, node: Record, x: ir.Value, y: ir.Value, dy: ir.Value, axes: list[int]
) -> ir.Value:
    """For y = ln Σ eˣ: dL/dx = dL/dy e^(x - y)."""
    return op.Mul(op.Exp(op.Sub(x, y)), dy)


@reduction
def product(
    op: Operators, node: Record, x: ir.Value, y: ir.Value, dy: ir.Value, axes: list[int]
) -> ir.Value:
    """For y = Π x: dL/dx = dL/dy y / x, for x without zeros."""
    return op.Div(op.Mul(dy, y), x)


RULES: dict[str, Rule] = {
    "ReduceSum": total,
    "ReduceMean": mean,
    "ReduceMax": extremum,
    "ReduceMin": extremum,
    "ReduceL1": l1,
    "ReduceL2": l2,
    "ReduceSumSquare": sum_square,
    "ReduceLogSum": log_sum,
    "ReduceLogSumExp": log_sum_exp,
    "ReduceProd": product,
    "GlobalAveragePool": mean,
    "GlobalMaxPool": extremum,
}
