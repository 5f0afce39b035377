"""Operators that join, cut, pick and repeat along axes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tta.export.axes import (
    Axis,
    Call,
    Rule,
    Tensor,
    fresh,
    has_batch,
    length,
    resized,
    tensor,
    title,
    unite,
)


def concat(call: Call) -> list[Tensor]:
    """Joined along one axis: samples move where that is the batch's."""
    given = [x for x in call.inputs if x is not None]
    rank, shape = len(call.shapes[0]), call.shapes[0]
    at, mixed = call.axis(0, rank), call.any_mixed()
    axes: list[Axis] = []
    for k in range(rank):
        met = [x.axes[k] for x in given]
        if k != at:
            axis, meets = unite(met, shape[k])
            mixed |= meets
        else:
            name = next((title(a) for a in met if title(a)), "")
            axis = met[0] if len(met) == 1 else fresh(shape[k], name)
            mixed |= len(met) > 1 and any(has_batch(a) for a in met)
        axes.append(axis)
    return [tensor(call, axes, mixed, zero=all(x.zero for x in given))]


def cut(call: Call) -> list[Tensor]:
    """Slice, Split, Pad, Resize, pooling aside: axes whose length stays pass by, others are cut.

    A slice of the whole axis backwards keeps its length and yet moves every sample.
    """
    x = call.x()
    backwards = call.op_type == "Slice" and any(s < 0 for s in call.integers(4, "steps") or [])
    made = []
    for shape in call.shapes:
        axes = [resized(axis, n) for axis, n in zip(x.axes, shape)]
        moved = any(has_batch(a) and (backwards or b != a) for a, b in zip(x.axes, axes))
        made.append(
            tensor(call, axes, call.any_mixed() or moved, zero=x.zero and call.op_type in _CUTS)
        )
    return made


def gather(call: Call) -> list[Tensor]:
    """Rows picked by index: the axis is replaced by those of the indices."""
    x, index = call.x(0), call.x(1)
    at = call.axis(0, len(x.axes))
    axes = [*x.axes[:at], *index.axes, *x.axes[at + 1 :]]
    mixed = call.any_mixed() or has_batch(x.axes[at])
    return [tensor(call, axes, mixed, zero=x.zero)]


def gather_elements(call: Call) -> list[Tensor]:
    """GatherElements and ScatterElements: picked along one axis, elementwise along the others."""
    x, index = call.x(0), call.x(1)
    at = call.axis(0, len(x.axes))
    base = index if call.op_type == "GatherElements" else x
    axes = list(base.axes)
    mixed = call.any_mixed() or has_batch(x.axes[at])
    for k, (a, b) in enumerate(zip(x.axes, index.axes)):
        if k != at and call.shapes[0][k] in (length(a), length(b)):
            axes[k], meets = unite([a, b], call.shapes[0][k])
            mixed |= meets
    return [tensor(call, axes, mixed)]


def expand(call: Call) -> list[Tensor]:
    """Repeated along axes of length 1."""
    x, shape = call.x(), call.shapes[0]
    padded = [()] * (len(shape) - len(x.axes)) + list(x.axes)
    axes = [a if length(a) == n else fresh(n, title(a)) for a, n in zip(padded, shape)]
    return [tensor(call, axes, x.state == "mixed", zero=x.zero)]


def tile(call: Call) -> list[Tensor]:
    """Repeated along any axis; a batch laid out again and again is no batch of its samples."""
    x, shape = call.x(), call.shapes[0]
    axes = [a if length(a) == n else fresh(n, title(a)) for a, n in zip(x.axes, shape)]
    moved = any(has_batch(a) and length(a) != n for a, n in zip(x.axes, shape))
    return [tensor(call, axes, x.state == "mixed" or moved, zero=x.zero)]


def one_hot(call: Call) -> list[Tensor]:
    """A new axis of length ``depth``."""
    x = call.x()
    rank = len(call.shapes[0])
    at = call.axis(-1, rank)
    axes = list(x.axes)
    axes.insert(at, fresh(call.shapes[0][at]))
    return [tensor(call, axes, call.any_mixed())]


def filled(call: Call) -> list[Tensor]:
    """ConstantOfShape: one value everywhere, so each sample is as it is alone."""
    value = call.get("value", None)
    zero = (
        value is None or not np.asarray(value.numpy() if hasattr(value, "numpy") else value).any()
    )
    return [tensor(call, [fresh(n) for n in call.shapes[0]], False, zero=zero)]


_CUTS = ("Slice", "Split", "Resize", "Trilu")
RULES: Mapping[str, Rule] = {
    "Concat": concat,
    "Slice": cut,
    "Split": cut,
    "Pad": cut,
    "Resize": cut,
    "Upsample": cut,
    "Trilu": cut,
    "Gather": gather,
    "GatherElements": gather_elements,
    "ScatterElements": gather_elements,
    "Expand": expand,
    "Tile": tile,
    "OneHot": one_hot,
    "ConstantOfShape": filled,
}
