"""Elementwise operators: all axes pass by, operands broadcast against one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tta.export.axes import Axis, Call, Rule, Tensor, tensor, unite


def aligned(call: Call, operands: Sequence[Tensor]) -> tuple[list[Axis], bool]:
    """Axes of operands that are aligned at the last one, and whether samples meet by that."""
    shape, mixed = call.shapes[0], False
    axes: list[Axis] = []
    for k in range(-len(shape), 0):
        axis, meets = unite([x.axes[k] for x in operands if len(x.axes) >= -k], shape[k])
        axes.append(axis)
        mixed |= meets
    return axes, mixed


def elementwise(call: Call) -> list[Tensor]:
    """An operator on a, b, ...: mixed where an operand is, or where batch axes are not the same one."""
    operands = [x for x in call.inputs if x is not None]
    axes, meets = aligned(call, operands)
    return [tensor(call, axes, call.any_mixed() or meets)]


def unary(call: Call) -> list[Tensor]:
    """An operator on x, with f(0) = 0 for those in ``KEEP_ZERO``; further inputs are parameters."""
    x = call.x()
    zero = x.zero and call.op_type in KEEP_ZERO
    return [tensor(call, x.axes, call.any_mixed() and not zero, zero=zero) for _ in call.shapes]


def product(call: Call) -> list[Tensor]:
    """Product a·b and a/b: 0 where a factor is 0, whatever the other one is."""
    factors = call.inputs[:1] if call.op_type == "Div" else call.inputs
    axes, meets = aligned(call, [x for x in call.inputs if x is not None])
    if any(x is not None and x.zero for x in factors):
        return [tensor(call, axes, False, zero=True)]
    return [tensor(call, axes, call.any_mixed() or meets)]


def total(call: Call) -> list[Tensor]:
    """Sum a + b and a - b; a mixed vector without batch axis stays a term of its own.

    A norm on small maps runs on x - m with its mean lowered by the batch mean m as well; with m's share
    zero, m cancels, and only the terms tell.
    """
    a, b = call.x(0), call.x(1)
    axes, meets = aligned(call, [a, b])
    sign = -1.0 if call.op_type == "Sub" else 1.0
    if a.zero and b.zero:
        return [tensor(call, axes, meets, zero=True)]
    mixed = meets
    terms: dict[tuple[str, tuple[int, ...]], float] = {}
    for operand, factor in ((a, 1.0), (b, sign)):
        lone = operand.mixed and operand.root and not operand.batched
        own = {(operand.root, operand.shape): 1.0} if lone else dict(operand.terms)
        mixed |= operand.mixed and not lone
        for key, share in own.items():
            terms[key] = terms.get(key, 0.0) + factor * share
    terms = {key: share for key, share in terms.items() if share}
    if mixed:
        terms = {}
    return [tensor(call, axes, mixed, terms=terms)]


def where(call: Call) -> list[Tensor]:
    """The choice of a where the condition holds, else b; a known condition chooses one."""
    condition, a, b = call.x(0), call.x(1), call.x(2)
    axes, meets = aligned(call, [condition, a, b])
    if condition.values is not None and all(
        np.array_equal(condition.values[0], v) for v in condition.values
    ):
        chosen = condition.values[0]
        if chosen.all() or not chosen.any():
            x = a if chosen.all() else b
            return [tensor(call, axes, x.mixed, terms=x.terms, zero=x.zero)]
    return [tensor(call, axes, call.any_mixed() or meets)]


_UNARY = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "CastLike"),
    *("Ceil", "Celu", "Clip", "Cos", "Cosh", "DequantizeLinear", "Dropout", "Elu", "Erf", "Exp"),
    *(
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "IsInf",
        "IsNaN",
        "LeakyRelu",
        "Log",
    ),
    *("Mish", "Neg", "Not", "QuantizeLinear", "Reciprocal", "Relu", "Round", "Selu", "Shrink"),
    *("Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh"),
    "ThresholdedRelu",
)
_BINARY = (
    *("And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Greater", "Less"),
    *(
        "GreaterOrEqual",
        "LessOrEqual",
        "Max",
        "Mean",
        "Min",
        "Mod",
        "Or",
        "PRelu",
        "Pow",
        "Sum",
        "Xor",
    ),
)
KEEP_ZERO = frozenset(
    ("Abs", "Cast", "Ceil", "Erf", "Floor", "Identity", "LeakyRelu", "Neg", "Relu", "Round", "Sign")
) | {"Sqrt", "Tanh"}
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_UNARY, unary),
    **dict.fromkeys(_BINARY, elementwise),
    "Mul": product,
    "Div": product,
    "Add": total,
    "Sub": total,
    "Where": where,
}
