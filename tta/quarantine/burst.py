"""Burst: a few frames far from all that the stream showed lately."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from tta.moments import robust
from tta.records import Array, Frame, Prediction

LOOKED_AT = 4096  # values of an input, evenly spaced
RECENT = 256  # frames that say what is usual
LEAST = 64  # of them before anything is refused
FAR = 8.0  # robust deviations from the median
LONGEST = 8  # frames: what lasts longer is no burst but another world, which is to be learned
EVERY = 16  # frames after which medians are taken anew


class Burst:
    """Refuses frames far outside of the last 256, for at most 8 frames in a row.

    Looked at are the mean m and the log deviation log s of the model input. A frame is refused where one of
    them lies more than 8 · 1.4826 · MAD from its median (Rousseeuw & Croux, "Alternatives to the median
    absolute deviation", JASA 1993, for the factor). A hand before the lens, a flash, a torn frame: whatever
    is over in a moment. Features would not do: those of the state in force move with every commit, and on
    the demo's model the frozen features of pure noise lie amid those of clothes.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)
        self._row, self._age = 0, 0
        self._middle = self._reach = np.zeros(2)

    def refuses(self, frame: Frame, x: Array, prediction: Prediction) -> str:
        """A clause, or nothing."""
        flat = x.reshape(-1)
        some = flat[:: max(1, flat.size // LOOKED_AT)].astype(np.float64)
        now = (float(some.mean()), math.log(float(some.std()) + 1e-6))
        if len(self._recent) >= LEAST and self._far(np.array(now)):
            self._row += 1
            if self._row <= LONGEST:
                return "it is far from all that the stream showed lately"
            self._recent.clear()
            self._age = 0
        self._row = 0
        self._recent.append(now)
        return ""

    def _far(self, now: Array) -> bool:
        if self._age % EVERY == 0:
            self._middle, spread = robust(np.array(self._recent))
            self._reach = FAR * np.maximum(spread, 1e-3)
        self._age += 1
        return bool((np.abs(now - self._middle) > self._reach).any())
