"""Operators that move axes about: permuted, split, merged, their lengths read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tta.export.axes import BATCH, SIZES, Axis, Call, Part, Rule, Tensor, fresh, length, tensor


def transpose(call: Call) -> list[Tensor]:
    """Axes in another order."""
    x = call.x()
    order = call.get("perm", None) or list(range(len(x.axes)))[::-1]
    return [tensor(call, [x.axes[k] for k in order], x.state == "mixed", zero=x.zero)]


def reshape(call: Call) -> list[Tensor]:
    """Reshape, Flatten, Squeeze, Unsqueeze: axes merge and split in order; the batch never splits.

    A split in the midst of the batch pairs elements of different samples.
    """
    x, shape = call.x(), call.shapes[0]
    axes, fits = regroup(x.axes, shape)
    view = x.root if fits and not x.batched else ""
    made = tensor(call, axes, x.mixed or not fits, zero=x.zero, root=view)
    return [replace(made, terms={}, mixed=True) if x.terms else made]


def regroup(axes: Sequence[Axis], shape: Sequence[int]) -> tuple[list[Axis], bool]:
    """The parts of some axes dealt out to new lengths in order, and whether the batch came out whole."""
    if [length(axis) for axis in axes] == list(shape):
        return list(axes), True
    parts = [part for axis in axes for part in axis if part.size != 1]
    made: list[Axis] = []
    for size in shape:
        axis: list[Part] = []
        left = size
        while left > 1 and parts:
            part = parts.pop(0)
            if left % part.size == 0:
                axis.append(part)
                left //= part.size
            elif part.size % left == 0 and part.name != BATCH:
                axis.append(Part(part.name, left))
                parts.insert(0, Part(part.name, part.size // left))
                left = 1
            else:
                return [fresh(n) for n in shape], not any(p.name == BATCH for a in axes for p in a)
        made.append(tuple(axis))
    return made, True


def shape_of(call: Call) -> list[Tensor]:
    """Shape: lengths, of which the batch's differs from batch to batch."""
    x = call.x()
    start, end = call.get("start", 0), call.get("end", None)
    values = [np.array(lengths(x, size), np.int64)[start:end] for size in SIZES]
    return [_known(call, values)]


def size_of(call: Call) -> list[Tensor]:
    """Size: the number of elements."""
    values = [np.array(np.prod(lengths(call.x(), size)), np.int64) for size in SIZES]
    return [_known(call, values)]


def lengths(x: Tensor, size: int) -> list[int]:
    """Lengths of the axes of x for a batch of that size."""
    return [
        int(np.prod([size if p.name == BATCH else p.size for p in axis], dtype=np.int64))
        for axis in x.axes
    ]


def _known(call: Call, values: Sequence[np.ndarray]) -> Tensor:
    a, b = values
    axes = [fresh(n) for n in a.shape]
    return tensor(call, axes, not np.array_equal(a, b), values=(a, b))


def blocks(call: Call) -> list[Tensor]:
    """DepthToSpace and SpaceToDepth: channels and positions trade places, samples stay."""
    x = call.x()
    named = [x.axes[0], *(fresh(n, name) for n, name in zip(call.shapes[0][1:], x.names()[1:]))]
    others = any(part.name == BATCH for axis in x.axes[1:] for part in axis)
    return [tensor(call, named, call.any_mixed() or others)]


RULES: Mapping[str, Rule] = {
    "Transpose": transpose,
    "Reshape": reshape,
    "Flatten": reshape,
    "Squeeze": reshape,
    "Unsqueeze": reshape,
    "Shape": shape_of,
    "Size": size_of,
    "DepthToSpace": blocks,
    "SpaceToDepth": blocks,
}
