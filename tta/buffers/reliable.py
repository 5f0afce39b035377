"""Reliable: only frames whose answer is certain and whose class is not yet there often."""

from __future__ import annotations

import math

import numpy as np

from tta.buffers._value import LOOK, Kept, Value, selection, whole
from tta.errors import TtaError
from tta.records import Array, Frame, Prediction, Selection

DIVERSE = 1.3  # d·√K; 1.26 is what ETA takes for 10 classes, 1.6 what it takes for 1000


class Reliable(Value):
    """Collects frames with low entropy that are unlike those collected, adapts, forgets.

    With p the probabilities of the served answer ``(K,)`` and m their mean over the frames that wait,

        kept where  H(p) < ``margin``·ln K  and  |cos(p, m)| < d.

    The conditions are those of Niu et al., "Efficient test-time model adaptation without forgetting", ICML
    2022, eqs. 3 and 4, with margin = 0.4 as there. Departures: m is the mean over what waits and not a
    moving average, and d, there 0.4 for 10 and 0.05 for 1000 classes, is 1.3/√K by default. With sure
    answers cos(p, m) = n_c/√(Σ n²) for class c with n_c frames, so that nothing more of a class is kept
    until others are there, and a round needs more than half of the classes. A stream that shows fewer never
    adapts: it then keeps the state that it has, and only ``look`` finds out that the source is back.

    Memory: ``size`` model inputs, and the newest 8.

    Args:
        size: frames a round.
        margin: largest entropy, as a share of ln K.
        d: largest cosine to the mean of what waits; default 1.3/√K.
    """

    partition = False
    selects = True

    def __init__(self, size: int = 16, margin: float = 0.4, d: float | None = None) -> None:
        self.size = self.least = whole("size", size)
        if not 0 < margin <= 1:
            raise TtaError(f"margin is a share of ln K in 0..1 above 0, but is {margin}")
        if d is not None and not 0 < d <= 1:
            raise TtaError(
                f"d is the largest cosine of a frame to keep, in 0..1 above 0, but is {d}"
            )
        self.margin, self.d = margin, d
        self._kept: tuple[Kept, ...] = ()
        self._sum: Array | None = None  # of the probabilities of what waits
        self._newest: tuple[Array, ...] = ()
        self._count = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def due(self) -> bool:
        """Whether a round is complete."""
        return len(self._kept) >= self.size

    def add(self, frame: Frame, x: Array, prediction: Prediction) -> tuple[Reliable, int]:
        """The buffer after one more frame, and how many it had no room for since no round came in time."""
        newest = (*self._newest[-(LOOK - 1) :], x)
        after = self.after(_newest=newest, _count=self._count + 1)
        p = prediction.probabilities
        share = prediction.entropy / math.log(len(p)) if len(p) > 1 else 0.0
        if not (share < self.margin and self._unlike(p)):
            return after, 0
        if self.due:
            return after, 1
        total = p if self._sum is None else self._sum + p
        new = Kept(x, self._count, prediction.label, share)
        return after.after(_kept=(*self._kept, new), _sum=total), 0

    def _unlike(self, p: Array) -> bool:
        if self._sum is None:
            return True
        d = DIVERSE / math.sqrt(len(p)) if self.d is None else self.d
        lengths = np.linalg.norm(p) * np.linalg.norm(self._sum)
        return bool(abs(p @ self._sum) < d * lengths)

    def look(self) -> Array | None:
        """The newest frames, kept or not, once in ``size`` frames."""
        now = self._count % self.size == self.size // 2
        return np.stack(self._newest) if now and len(self._newest) == LOOK else None

    def take(self) -> tuple[Selection, Reliable]:
        """All that is kept, and a buffer without it."""
        return selection(self._kept), self.after(_kept=(), _sum=None)

    def renewed(self) -> Reliable:
        """The same: no round had any of these frames."""
        return self

    def empty(self) -> Reliable:
        """As at the beginning."""
        return self.after(_kept=(), _sum=None, _newest=(), _count=0)
