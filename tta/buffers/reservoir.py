"""Reservoir: a memory balanced over the predicted classes, of recent and certain frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tta.buffers._value import LOOK, Kept, Value, selection, whole
from tta.errors import TtaError
from tta.records import Array, Frame, Prediction, Selection


class Reservoir(Value):
    """Category-balanced sampling with timeliness and uncertainty, for streams whose classes come in runs.

    With capacity N, K classes, A the frames since a frame came and H(p) the entropy of its answer, frames
    compete by

        S = λ_t·1/(1 + e^(-A/N)) + λ_u·H(p)/ln K,        the lower the better.

    A new frame of predicted class c is kept while c has less than N/K frames and there is room. Without
    room it competes with the frames of the most frequent classes; where c has its share, with those of c
    itself: the frame with the largest S goes if the new one's is smaller, else the new one does. Every
    ``period`` frames the whole memory is a round, in which a frame weighs

        w = 2·E(A),  E(A) = e^(-A/N)/(1 + e^(-A/N)).

    Yuan, Xie, Li, "Robust test-time adaptation in dynamic scenarios", CVPR 2023, section 3.3 (written from
    the published description; equation numbers not checked). N = period = 64 and λ_t = λ_u = 1 as there.
    Gong et al., "NOTE", NeurIPS 2022, balance likewise, replace at random and do not weigh: ``weigh=false``
    for that part. Departures: no round before ``least`` frames are kept, since batch statistics of a few
    frames of one class do harm; E is doubled, so that a frame that has just come weighs 1; and where the
    source turns out to be back, or the stream to have jumped, frames of earlier rounds go. Nothing is left
    to chance: the same stream gives the same rounds.

    Memory: N model inputs, and the newest 8. After a change of the world the rounds hold frames from before
    it for about 2·N frames, and for longer of classes that do not come again.

    Args:
        capacity: N, frames kept and so at most in a round.
        period: frames between rounds; 0 for N.
        least: frames from which on a round comes; 0 for N/4.
        timeliness: λ_t.
        uncertainty: λ_u.
        weigh: whether old frames weigh less.
        expiry: frames after which a kept one goes, whatever its class; 0 for never. On a stream that moves
            slowly, frames of classes that are no longer answered would stay for ever.
    """

    partition = False
    selects = True

    def __init__(
        self,
        capacity: int = 64,
        period: int = 0,
        least: int = 0,
        timeliness: float = 1.0,
        uncertainty: float = 1.0,
        weigh: bool = True,
        expiry: int = 0,
    ) -> None:
        self.size = whole("capacity", capacity)
        self.period = whole("period", period, 0) or capacity
        self.least = whole("least", least, 0) or max(1, capacity // 4)
        if self.least > capacity:
            raise TtaError(f"a reservoir of {capacity} never holds the {least} frames of least")
        if timeliness < 0 or uncertainty < 0:
            raise TtaError("timeliness and uncertainty of a reservoir are weights from 0 on")
        self.timeliness, self.uncertainty, self.weigh = timeliness, uncertainty, weigh
        self.expiry = whole("expiry", expiry, 0)
        self._kept: tuple[Kept, ...] = ()
        self._newest: tuple[Array, ...] = ()
        self._count, self._since = 0, 0
        self._round = self._before = 0  # counts at the last two rounds
        self._free = 0  # frames that may come whatever their class

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def due(self) -> bool:
        """Whether the period is over, and enough is kept."""
        return self._since >= self.period and len(self._kept) >= self.least

    def score(self, kept: Kept) -> float:
        """S of a frame now."""
        age = (self._count - kept.at) / self.size
        return self.timeliness / (1 + math.exp(-age)) + self.uncertainty * kept.uncertainty

    def add(self, frame: Frame, x: Array, prediction: Prediction) -> tuple[Reservoir, int]:
        """The buffer after one more frame; nothing is dropped for want of time."""
        classes = len(prediction.probabilities)
        share = prediction.entropy / math.log(classes) if classes > 1 else 0.0
        new = Kept(x, self._count, prediction.label, share)
        newest = (*self._newest[-(LOOK - 1) :], x)
        counts = dict(_newest=newest, _count=self._count + 1, _since=self._since + 1)
        old = self._kept
        if self.expiry:
            kept = tuple(k for k in old if self._count - k.at < self.expiry)
            return self.after(_kept=kept)._added(new, classes, counts), 0
        return self._added(new, classes, counts), 0

    def _added(self, new: Kept, classes: int, counts: Mapping[str, Any]) -> Reservoir:
        if self._free:
            return self.after(_kept=(*self._kept, new), _free=self._free - 1, **counts)
        return self.after(_kept=self._with(new, classes), **counts)

    def _with(self, new: Kept, classes: int) -> tuple[Kept, ...]:
        count: dict[int, int] = {}
        for each in self._kept:
            count[each.label] = count.get(each.label, 0) + 1
        rivals = {new.label}
        if count.get(new.label, 0) < self.size / classes:
            if len(self._kept) < self.size:
                return (*self._kept, new)
            most = max(count.values())
            rivals = {label for label, n in count.items() if n == most}
        worst = max((k for k in self._kept if k.label in rivals), key=self.score)
        if self.score(new) >= self.score(worst):
            return self._kept
        return (*(k for k in self._kept if k is not worst), new)

    def look(self) -> Array | None:
        """The newest frames, kept or not, half way through each period."""
        half = self._since % self.period == self.period // 2 and self.period >= LOOK * 2
        return np.stack(self._newest) if half and len(self._newest) == LOOK else None

    def take(self) -> tuple[Selection, Reservoir]:
        """All that is kept, oldest first; it stays."""
        age = (self._count - np.array([k.at for k in self._kept])) / self.size
        weight = np.float32(2 * np.exp(-age) / (1 + np.exp(-age))) if self.weigh else None
        seen = tuple(Kept(k.x, k.at, k.label, k.uncertainty, True) for k in self._kept)
        after = self.after(_kept=seen, _since=0, _round=self._count, _before=self._round)
        return selection(self._kept, weight), after

    def moved(self) -> Reservoir:
        """The frames that came since the round before the last one, and room for any until a round is due.

        After a jump answers may be of few classes, and none to balance by: as many frames as a round needs
        come whatever their class.
        """
        kept = tuple(k for k in self._kept if k.at >= self._before)
        return self.after(_kept=kept, _free=max(0, self.least - len(kept)))

    def hurried(self, within: int) -> Reservoir:
        """The next round is due within so many frames, if enough is kept by then."""
        return self.after(_since=max(self._since, self.period - within))

    def renewed(self) -> Reservoir:
        """The frames that no round had yet."""
        return self.after(_kept=tuple(k for k in self._kept if not k.seen))

    def empty(self) -> Reservoir:
        """As at the beginning."""
        return self.after(_kept=(), _newest=(), _count=0, _since=0, _round=0, _before=0, _free=0)
