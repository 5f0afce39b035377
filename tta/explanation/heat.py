"""From a layer's positions to places of the input: bilinear, and tokens back on their grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tta.records import Array
from tta.runtime.resize import resize


def onto(values: Array, sample: Sequence[int | None], shape: Sequence[int]) -> Array | None:
    """A layer's values on the input, scaled to mean 1; None where positions are no places of it.

    A map ``(N, h, w)`` is stretched over pictures ``(C, H, W)``, ``(N, t)`` over windows ``(C, T)``. Where a
    picture's layer has one axis of positions, these are taken for tokens of a square grid, row by row, the
    first one a class token if there is one too many.

    Args:
        values: ``(N, ...)``, not negative.
        sample: the model's input without its batch axis, as the manifest has it.
        shape: the same, as the batch has it.
    """
    places = len(sample) - 1
    found = np.asarray(values, np.float32)
    if places == 2 and found.ndim == 2:
        found = _grid(found)
    if places not in (1, 2) or found.ndim != 1 + places or math.prod(found.shape[1:]) < 2:
        return None
    size = tuple(shape[1:])
    heat = stretched(found, size)
    total = float(heat.mean())
    return heat / total if total > 0 else None


def stretched(values: Array, size: Sequence[int]) -> Array:
    """``(N, t)`` or ``(N, h, w)`` in another size, bilinear."""
    planes = values if values.ndim == 3 else values[None]
    high = size[0] if values.ndim == 3 else len(values)
    whole = (high, size[-1])
    out = resize(
        np.ascontiguousarray(planes, np.float32), whole, rounded=False, crop=(0, 0, *whole)
    )
    return out if values.ndim == 3 else out[0]


def _grid(tokens: Array) -> Array:
    """Tokens ``(N, t)`` as ``(N, g, g)``; what is no grid stays."""
    for skipped in (0, 1):
        side = math.isqrt(tokens.shape[1] - skipped)
        if side > 1 and side * side == tokens.shape[1] - skipped:
            return tokens[:, skipped:].reshape(len(tokens), side, side)
    return tokens


def half(heat: Array) -> float:
    """The least share of the places that holds half of the heat: 0.5 where it is even, near 0 for a point.

    >>> half(np.ones((4, 4))), half(np.eye(4))
    (0.5, 0.125)
    """
    ordered = np.sort(np.ravel(heat))[::-1]
    sums = np.cumsum(ordered, dtype=np.float64)
    return float((np.searchsorted(sums, sums[-1] / 2) + 1) / len(ordered))


__all__ = ["half", "onto", "stretched"]
