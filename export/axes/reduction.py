"""Reductions and scans: the listed axes are consumed."""

from __future__ import annotations

from collections.abc import Mapping

from tta.export.axes import Axis, Call, Rule, Tensor, has_batch, resized, tensor


def reduce(call: Call) -> list[Tensor]:
    """A sum, mean or extreme over axes: mixed where the batch is among them."""
    x = call.x()
    rank = len(x.axes)
    given = call.integers(1, "axes")
    if given is None and len(call.inputs) > 1 and call.inputs[1] is not None:
        return [tensor(call, [(), *x.axes][: len(call.shapes[0])], True)]  # axes known at run time
    if not given:
        given = [] if call.get("noop_with_empty_axes", 0) else list(range(rank))
    over = {axis % rank for axis in given}
    zero = x.zero and call.op_type in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")
    mixed = x.state == "mixed" or any(has_batch(x.axes[k]) for k in over)
    return [tensor(call, _left(call, x, over), mixed and not zero, zero=zero)]


def extreme(call: Call) -> list[Tensor]:
    """ArgMax and ArgMin: one axis is consumed."""
    x = call.x()
    axis = call.axis(0, len(x.axes))
    return [tensor(call, _left(call, x, {axis}), call.any_mixed() or has_batch(x.axes[axis]))]


def _left(call: Call, x: Tensor, over: set[int]) -> list[Axis]:
    """Axes after a reduction; a kept one has length 1 and no name."""
    keep = call.get("keepdims", 1)
    return [() if k in over else axis for k, axis in enumerate(x.axes) if keep or k not in over]


def along(call: Call) -> list[Tensor]:
    """Softmax and its like, and running sums: every element sees its whole line of one axis."""
    x = call.x()
    if call.op_type == "CumSum":
        (axis,) = call.integers(1) or [0]
    else:
        axis = int(call.get("axis", -1))
    mixed = call.any_mixed() or has_batch(x.axes[axis % len(x.axes)])
    return [tensor(call, x.axes, mixed) for _ in call.shapes]


def top(call: Call) -> list[Tensor]:
    """TopK: values and indices; the axis keeps its name."""
    x = call.x()
    at = call.axis(-1, len(x.axes))
    mixed = call.any_mixed() or has_batch(x.axes[at])
    axes = [resized(axis, n) for axis, n in zip(x.axes, call.shapes[0])]
    return [tensor(call, axes, mixed) for _ in call.shapes]


_SUMS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
RULES: Mapping[str, Rule] = {
    **{f"Reduce{name}": reduce for name in _SUMS},
    "ArgMax": extreme,
    "ArgMin": extreme,
    "Softmax": along,
    "LogSoftmax": along,
    "Hardmax": along,
    "CumSum": along,
    "LpNormalization": along,
    "TopK": top,
}
