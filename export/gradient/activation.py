"""Adjoints of activation functions.

Where a function has a kink, the cotangent is multiplied by a mask: a steep HardSigmoid of something
that is positive where the gradient passes and zero where it stops.
"""

from __future__ import annotations

import onnx_ir as ir

from tta.export.gradient import Rule
from tta.export.gradient._broadcast import unbroadcast
from tta.export.gradient._static import constant, elementwise, first, step
from tta.export.operators import Operators
from tta.export.tape import Cotangents, Record

SELU_ALPHA = 1.67326319217681884765625
SELU_GAMMA = 1.05070102214813232421875


def mask(op: Operators, node: Record) -> ir.Value | None:
    """Where a Relu or Clip lets the gradient pass, as booleans: low < y < high. None for other nodes.

    It is taken on the way forward, while y is warm, so that the way back reads a byte a value instead of a
    float that has long left the cache, and y's memory is free again once the next layer has read it.
    """
    y = node.outputs[0]
    if node.op_type == "Relu":
        return op.Greater(y, 0.0)
    if node.op_type != "Clip":
        return None
    low = _bound(node.x(1)) if node.has(1) else None
    high = _bound(node.x(2)) if node.has(2) else None
    bounds = [op.Greater(y, low)] if low is not None else []
    bounds += [op.Less(y, high)] if high is not None else []
    return op.And(*bounds) if len(bounds) == 2 else bounds[0] if bounds else None


def _bound(value: ir.Value) -> ir.Value | float:
    known = constant(value)
    return value if known is None else float(known.reshape(()))


def passed(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = max(x, 0) or y = min(max(x, low), high): dL/dx = dL/dy [low < y < high]."""
    if not node.active[0]:
        return [None]
    dy = first(dys)
    kept = mask(op, node) if node.mask is None else node.mask
    return [dy if kept is None else op.Mul(dy, op.Cast(kept, to=ir.DataType.FLOAT.value))]


def _inside(op: Operators, y: ir.Value, low: float, high: float) -> ir.Value:
    """1 where low < y < high, else 0, for a y that is clipped to [low, high]."""
    above = y if low == 0.0 else op.Sub(y, low)
    return step(op, op.Mul(above, op.Sub(high, y)))


def leaky_relu(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x > 0 ? x : alpha x: dL/dx = dL/dy (x > 0 ? 1 : alpha)."""
    dy, alpha = first(dys), float(node.get("alpha", 0.01))
    if 0.0 <= alpha <= 1.0:
        slope = op.Max(step(op, node.x()), alpha)
    else:
        slope = op.Add(op.Mul(step(op, node.x()), 1.0 - alpha), alpha)
    return [op.Mul(dy, slope)]


def p_relu(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x > 0 ? x : sx: dL/dx = dL/dy (x > 0 ? 1 : s), dL/ds = dL/dy min(x, 0)."""
    dy, x, s = first(dys), node.x(0), node.x(1)
    dx = ds = None
    if node.active[0]:
        mask = step(op, x)
        dx = op.Mul(dy, op.Add(mask, op.Mul(op.Sub(1.0, mask), s)))
    if node.active[1]:
        ds = unbroadcast(op, op.Mul(dy, op.Min(x, 0.0)), s, x)
    return [dx, ds]


def _exponential(
    op: Operators, node: Record, dy: ir.Value, gain: float, alpha: float
) -> Cotangents:
    """For y = gain (x > 0 ? x : alpha (eˣ - 1)): dL/dx = dL/dy (x > 0 ? gain : y + gain alpha)."""
    below = op.Add(op.Min(node.outputs[0], 0.0), gain * alpha)
    if alpha == 1.0:
        return [op.Mul(dy, below)]
    rise = op.Mul(step(op, node.x()), gain - gain * alpha)
    return [op.Mul(dy, op.Add(below, rise))]


def elu(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x > 0 ? x : alpha (eˣ - 1): dL/dx = dL/dy (x > 0 ? 1 : y + alpha)."""
    return _exponential(op, node, first(dys), 1.0, float(node.get("alpha", 1.0)))


def selu(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = gamma elu(x): dL/dx = dL/dy (x > 0 ? gamma : y + gamma alpha)."""
    alpha, gamma = node.get("alpha", SELU_ALPHA), node.get("gamma", SELU_GAMMA)
    return _exponential(op, node, first(dys), float(gamma), float(alpha))


def celu(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = max(x, 0) + min(alpha (e^(x/alpha) - 1), 0): dL/dx = dL/dy (1 + min(y, 0)/alpha)."""
    below = op.Mul(op.Min(node.outputs[0], 0.0), 1.0 / float(node.get("alpha", 1.0)))
    return [op.Mul(first(dys), op.Add(below, 1.0))]


@elementwise
def sigmoid(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = 1/(1 + e⁻ˣ): dL/dx = dL/dy y (1 - y)."""
    return op.Mul(dy, op.Mul(y, op.Sub(1.0, y)))


def hard_sigmoid(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = min(max(alpha x + beta, 0), 1): dL/dx = dL/dy alpha [0 < y < 1]."""
    mask = _inside(op, node.outputs[0], 0.0, 1.0)
    return [op.Mul(first(dys), op.Mul(mask, float(node.get("alpha", 0.2))))]


@elementwise
def hard_swish(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = x h, h = min(max(x/6 + 1/2, 0), 1): dL/dx = dL/dy (h + x/6 [0 < h < 1])."""
    h = op.HardSigmoid(x, alpha=1.0 / 6.0, beta=0.5)
    slope = op.Mul(op.Mul(x, 1.0 / 6.0), _inside(op, h, 0.0, 1.0))
    return op.Mul(dy, op.Add(h, slope))


@elementwise
def tanh(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = tanh x: dL/dx = dL/dy (1 - y²)."""
    return op.Mul(dy, op.Sub(1.0, op.Mul(y, y)))


@elementwise
def softplus(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = ln(1 + eˣ): dL/dx = dL/dy sigmoid(x)."""
    return op.Mul(dy, op.Sigmoid(x))


@elementwise
def softsign(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = x/(1 + |x|): dL/dx = dL/dy (1 - |y|)²."""
    rest = op.Sub(1.0, op.Abs(y))
    return op.Mul(dy, op.Mul(rest, rest))


@elementwise
def mish(op: Operators, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """For y = x t, t = tanh(ln(1 + eˣ)): dL/dx = dL/dy (t + x (1 - t²) sigmoid(x))."""
    t = op.Tanh(op.Softplus(x))
    slope = op.Mul(op.Mul(x, op.Sigmoid(x)), op.Sub(1.0, op.Mul(t, t)))
    return op.Mul(dy, op.Add(t, slope))


def thresholded_relu(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x > alpha ? x : 0: dL/dx = dL/dy [x > alpha]."""
    alpha = float(node.get("alpha", 1.0))
    mask = step(op, node.outputs[0] if alpha >= 0 else op.Sub(node.x(), alpha))
    return [op.Mul(first(dys), mask)]


RULES: dict[str, Rule] = {
    "Relu": passed,
    "Clip": passed,
    "LeakyRelu": leaky_relu,
    "PRelu": p_relu,
    "Elu": elu,
    "Selu": selu,
    "Celu": celu,
    "Sigmoid": sigmoid,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Tanh": tanh,
    "Softplus": softplus,
    "Softsign": softsign,
    "Mish": mish,
    "ThresholdedRelu": thresholded_relu,
}
