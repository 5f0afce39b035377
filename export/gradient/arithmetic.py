"""Adjoints of elementwise arithmetic; operands broadcast, so cotangents are summed back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from tta.export.gradient import Rule
from tta.export.gradient._broadcast import unbroadcast
from tta.export.gradient._static import constant, elementwise, first, step
from tta.export.operators import Operators
from tta.export.tape import Cotangents, Record


def _operand(op: Operators, node: Record, index: int, gradient: ir.Value) -> ir.Value:
    return unbroadcast(op, gradient, node.x(index), node.outputs[0])


def add(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = Σ aₖ: each dL/daₖ = dL/dy."""
    dy = first(dys)
    return [_operand(op, node, k, dy) if on else None for k, on in enumerate(node.active)]


def sub(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = a - b: dL/da = dL/dy, dL/db = -dL/dy."""
    dy, (on_a, on_b) = first(dys), node.active
    return [
        _operand(op, node, 0, dy) if on_a else None,
        op.Neg(_operand(op, node, 1, dy)) if on_b else None,
    ]


def mul(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = a b: dL/da = dL/dy b, dL/db = dL/dy a."""
    dy, (on_a, on_b) = first(dys), node.active
    return [
        _operand(op, node, 0, op.Mul(dy, node.x(1))) if on_a else None,
        _operand(op, node, 1, op.Mul(dy, node.x(0))) if on_b else None,
    ]


def div(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = a / b: dL/da = dL/dy / b, dL/db = -dL/dy y / b."""
    dy, (on_a, on_b) = first(dys), node.active
    share = op.Div(dy, node.x(1))
    return [
        _operand(op, node, 0, share) if on_a else None,
        op.Neg(_operand(op, node, 1, op.Mul(share, node.outputs[0]))) if on_b else None,
    ]


def power(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = a^b: dL/da = dL/dy b a^(b-1), dL/db = dL/dy y ln a (0 where a ≤ 0)."""
    dy, a, b, y = first(dys), node.x(0), node.x(1), node.outputs[0]
    da = db = None
    if node.active[0]:
        da = _operand(op, node, 0, _power_base(op, a, b, y, dy))
    if node.active[1]:
        positive = op.Where(op.Greater(a, 0.0), a, 1.0)
        db = _operand(op, node, 1, op.Mul(op.Mul(dy, y), op.Log(positive)))
    return [da, db]


def _power_base(op: Operators, a: ir.Value, b: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    known = constant(b)
    if known is None or known.size != 1:
        exponent = op.CastLike(b, a)
        slope = op.Mul(exponent, op.Pow(a, op.Sub(exponent, 1.0)))
    else:
        p = float(known.reshape(()))
        if p == 2.0:
            slope = op.Mul(a, 2.0)
        elif p == 0.5:
            slope = op.Div(0.5, y)
        elif p in (0.0, 1.0):
            return op.Mul(dy, p)
        else:
            slope = op.Mul(op.Pow(a, p - 1.0), p)
    return op.Mul(dy, slope)


def _extremum(op: Operators, node: Record, dys: Cotangents, sign: float) -> Cotangents:
    dy, y, values = first(dys), node.outputs[0], [i for i in node.inputs if i is not None]
    if len(values) == 1:
        return [dy]
    if len(values) == 2:
        lead = op.Sub(*(values if sign > 0 else values[::-1]))
        shares = [
            step(op, lead, at_zero=0.5) if node.active[0] else None,
            step(op, op.Neg(lead), at_zero=0.5) if node.active[1] else None,
        ]
    else:
        hits = [op.Cast(op.Equal(v, y), to=ir.DataType.FLOAT) for v in values]
        count = op.Sum(*hits)
        shares = [op.Div(hit, count) if on else None for hit, on in zip(hits, node.active)]
    return [
        None if s is None else _operand(op, node, k, op.Mul(dy, s)) for k, s in enumerate(shares)
    ]


def maximum(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = max aₖ: dL/daₖ = dL/dy [aₖ = y] / number of ties."""
    return _extremum(op, node, dys, 1.0)


def minimum(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = min aₖ: dL/daₖ = dL/dy [aₖ = y] / number of ties."""
    return _extremum(op, node, dys, -1.0)


def where(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = c ? a : b: dL/da = c ? dL/dy : 0, dL/db = c ? 0 : dL/dy."""
    dy, c = first(dys), node.x(0)
    return [
        None,
        _operand(op, node, 1, op.Where(c, dy, 0.0)) if node.active[1] else None,
        _operand(op, node, 2, op.Where(c, 0.0, dy)) if node.active[2] else None,
    ]


def cast(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x in another float type: dL/dx = dL/dy in the type of x; none for integers."""
    kind = node.x().type
    if kind is None or not kind.dtype.is_floating_point():
        return [None]
    return [op.Cast(first(dys), to=kind.dtype)]


@elementwise
def neg(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = -x: dL/dx = -dL/dy."""
    return op.Neg(dy)


@elementwise
def sqrt(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = √x: dL/dx = dL/dy / 2y."""
    return op.Mul(op.Div(dy, y), 0.5)


@elementwise
def reciprocal(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = 1/x: dL/dx = -dL/dy y²."""
    return op.Neg(op.Mul(dy, op.Mul(y, y)))


@elementwise
def exp(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = eˣ: dL/dx = dL/dy y."""
    return op.Mul(dy, y)


@elementwise
def log(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = ln x: dL/dx = dL/dy / x."""
    return op.Div(dy, x)


@elementwise
def absolute(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = |x|: dL/dx = dL/dy sign(x)."""
    return op.Mul(dy, op.Sign(x))


@elementwise
def erf(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = erf x: dL/dx = dL/dy 2/√π e^(-x²)."""
    bell = op.Exp(op.Neg(op.Mul(x, x)))
    return op.Mul(dy, op.Mul(bell, 2.0 / math.sqrt(math.pi)))


@elementwise
def sin(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = sin x: dL/dx = dL/dy cos x."""
    return op.Mul(dy, op.Cos(x))


@elementwise
def cos(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = cos x: dL/dx = -dL/dy sin x."""
    return op.Neg(op.Mul(dy, op.Sin(x)))


@elementwise
def identity(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = x: dL/dx = dL/dy."""
    return dy


def range_(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For yᵢ = start + i delta: dL/dstart = Σ dL/dyᵢ, dL/ddelta = Σ i dL/dyᵢ; 0 for the limit."""
    dy = first(dys)
    start = op.ReduceSum(dy, [0], keepdims=0) if node.active[0] else None
    if not node.active[2]:
        return [start]
    ramp = op.CumSum(op.Expand(1.0, op.Shape(dy)), np.array(0), exclusive=1)
    return [start, None, op.ReduceSum(op.Mul(dy, ramp), [0], keepdims=0)]


def one_hot(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = h on + (1 - h) off, h one-hot: dL/don = Σ h dL/dy, dL/doff = Σ (1 - h) dL/dy."""
    if not node.active[2]:
        return [None]
    dy = first(dys)
    hot = op.OneHot(node.x(0), node.x(1), np.eye(2, dtype=np.float32)[1], axis=node.get("axis", -1))
    sums = [
        op.Reshape(op.ReduceSum(op.Mul(dy, h), keepdims=0), [1]) for h in (op.Sub(1.0, hot), hot)
    ]
    return [None, None, op.Concat(*sums, axis=0)]


def constant_almost_everywhere(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """A step function, an index or a shape: dL/dx = 0 for every input."""
    return [None] * len(node.inputs)


FLAT: Sequence[str] = (
    *("Floor", "Ceil", "Round", "Sign", "Not", "And", "Or", "Xor", "IsNaN", "IsInf"),
    *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "ArgMax", "ArgMin"),
    *("Shape", "Size", "NonZero", "Constant", "ConstantOfShape", "EyeLike"),
)

RULES: dict[str, Rule] = {
    "Add": add,
    "Sum": add,
    "Sub": sub,
    "Mul": mul,
    "Div": div,
    "Pow": power,
    "Max": maximum,
    "Min": minimum,
    "Where": where,
    "Cast": cast,
    "CastLike": cast,
    "Neg": neg,
    "Sqrt": sqrt,
    "Reciprocal": reciprocal,
    "Exp": exp,
    "Log": log,
    "Abs": absolute,
    "Erf": erf,
    "Sin": sin,
    "Cos": cos,
    "Identity": identity,
    "Range": range_,
    "OneHot": one_hot,
    **dict.fromkeys(FLAT, constant_almost_everywhere),
}
