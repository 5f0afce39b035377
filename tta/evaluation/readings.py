"""What becomes of the items of a data set: corrupted, in the light of an hour, or cut up and of no class.

A change is named as in a ``Visit``: ``none``, a corruption, or an hour of the day such as ``18:00``. It
does the same to an item in every protocol, order and batch. What was made is kept as it is up to a bound,
so that the cells of a sweep make it once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tta.corruptions import corrupt
from tta.records import Array
from tta.runtime.datasets import Dataset
from tta.simulation.schedules.diurnal import Diurnal

MOST_BYTES = 256 << 20  # of what is kept; the rest is made anew each time it is asked for
PATCHES = 4  # a side of an image
STRETCHES = 8  # of a sensor's window


@dataclass(frozen=True, slots=True)
class _Kept:
    """Readings ``(count, ...)`` under one change, and which of them are there."""

    values: Array
    there: Array


class Readings:
    """Items of a data set under changes.

    Args:
        data: images, or windows of a sensor.
        chosen: ``(count,)`` which of its items, in this order; everything here counts within these.
        seed: of what chance does to an item.
        most_bytes: bound of what is kept.
    """

    def __init__(
        self, data: Dataset, chosen: Array, seed: int = 0, most_bytes: int = MOST_BYTES
    ) -> None:
        self.data, self.chosen, self.seed = data, chosen, seed
        self._room, self._kept = most_bytes, dict[tuple[str, int, bool], _Kept]()
        self._scale: Array | None = None
        if data.kind == "sensor":
            some = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), 64)).astype(int)]
            self._scale = data.read(some, np.zeros(len(some), int)).std(axis=(0, 2))

    def read(self, items: Array, change: str, severity: int, unseen: bool = False) -> Array:
        """Images ``(n, H, W)`` or ``(n, H, W, C)``, or windows ``(n, C, T)``.

        Args:
            items: ``(n,)`` places in ``chosen``.
            change: ``none``, a corruption, or an hour of the day.
            severity: of the corruption, 1 to 5.
            unseen: cut up and put together in another order first, so that they show none of the classes.
        """
        key = (change, severity, unseen)
        if key not in self._kept:
            one = self._made(items[:1], *key)
            size = one[0].nbytes * len(self.chosen)
            if size > self._room:
                return self._made(items, *key)
            self._room -= size
            empty = np.empty((len(self.chosen), *one.shape[1:]), one.dtype)
            self._kept[key] = _Kept(empty, np.zeros(len(self.chosen), bool))
        kept = self._kept[key]
        if (missing := np.unique(items[~kept.there[items]])).size:
            kept.values[missing] = self._made(missing, *key)
            kept.there[missing] = True
        found: Array = kept.values[items]
        return found

    def _made(self, items: Array, change: str, severity: int, unseen: bool) -> Array:
        numbers = self.chosen[items]
        readings: Array = self.data.read(numbers, np.zeros(len(items), int))
        if unseen:
            readings = np.stack(
                [_cut_up(r, [self.seed, int(k)]) for r, k in zip(readings, numbers)]
            )
        if change == "none":
            return readings
        if (hour := hour_of(change)) is not None:
            t_s = np.full(len(items), 3600.0 * hour)
            return Diurnal("0").ambient(readings, t_s, self.seed, numbers, self._scale)
        return corrupt(readings, change, severity, self.seed, first=numbers, scale=self._scale)


def hour_of(change: str) -> float | None:
    """Hour of the day that a change names, None where it names none.

    >>> hour_of("18:30"), hour_of("fog")
    (18.5, None)
    """
    hours, colon, minutes = change.partition(":")
    return int(hours) + int(minutes) / 60 if colon else None


def _cut_up(reading: Array, seed: list[int]) -> Array:
    """An image ``(H, W[, C])`` as 4x4 patches in random order, a window ``(C, T)`` as 8 stretches of time.

    Rows, columns or samples that are left over stay.
    """
    order = np.random.default_rng([*seed, 3])
    out: Array = reading.copy()
    if reading.dtype.kind == "f":
        length = reading.shape[1] // STRETCHES
        for to, place in enumerate(order.permutation(STRETCHES).tolist()):
            part = reading[:, place * length : (place + 1) * length]
            out[:, to * length : (to + 1) * length] = part
        return out
    h, w = reading.shape[0] // PATCHES, reading.shape[1] // PATCHES
    for to, place in enumerate(order.permutation(PATCHES**2).tolist()):
        (y, x), (v, u) = divmod(to, PATCHES), divmod(place, PATCHES)
        patch = reading[v * h : (v + 1) * h, u * w : (u + 1) * w]
        out[y * h : (y + 1) * h, x * w : (x + 1) * w] = patch
    return out


__all__ = ["MOST_BYTES", "Readings", "hour_of"]
