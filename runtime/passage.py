"""What a batch stands for in its stream: how much time went by, and how many independent frames it is worth.

A batch of a video says less than as many photographs do. With D the mean squared difference of neighbouring
frames' features and σ² the features' variance on source data, neighbours correlate with ρ = 1 - D/(2σ²), and
n frames are worth n(1-ρ)/(1+ρ) independent ones, at least one (``tta.autocorrelation``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tta.autocorrelation import effective_size
from tta.protocols import Run
from tta.records import Array, Span, Step


class Passage:
    """The time of one stream. The frame loop ticks; rounds take what has passed, on another thread or not.

    Only forward movement counts: a clock that is set back, or stands still, adds nothing, and its further
    course counts again. The first frame is taken to stand for as long as the second.

    Args:
        variance: of each feature on source data ``(D,)``; None to take the batch's own, which sees a slow
            stream as more diverse than it is.
    """

    def __init__(self, variance: Array | None = None) -> None:
        self._variance = variance
        self._now_s, self._total_s, self._frames = math.nan, 0.0, 0
        self._taken_s = 0.0

    def tick(self, t_s: float) -> None:
        """A frame of that time went by."""
        passed = t_s - self._now_s  # nan at the first
        if passed > 0:
            self._total_s += passed * (2 if self._frames == 1 else 1)
        self._frames += 1
        self._now_s = t_s

    def take(self, step: Step) -> Span:
        """The span of a batch that was run just now; the next one begins here."""
        total = self._total_s
        seconds, self._taken_s = total - self._taken_s, total
        features = step.outputs.get("features")
        frames = max((len(v) for v in step.outputs.values()), default=1)
        effective = None if features is None else self._worth(features.reshape(frames, -1))
        return Span(frames, seconds, effective)

    def _worth(self, features: Array) -> float:
        n = len(features)
        if n == 1:
            return 1.0
        x = features.astype(np.float64)
        variance = x.var(0) if self._variance is None else self._variance
        spread = 2 * float(variance.sum())
        moved = float((np.diff(x, axis=0) ** 2).mean(0).sum())
        rho = max(0.0, 1 - moved / spread) if spread else 1.0
        return max(1.0, effective_size(n, rho))


class Spanned:
    """A run whose steps say what their batch stands for; ``span`` is that of the whole round.

    A part of the round's frames has its part of the time and of the worth.
    """

    def __init__(self, run: Run, span: Span) -> None:
        self._run, self.span = run, span

    def __call__(self, graph: str, batch: Array, slots: Mapping[str, Array], **inputs: Any) -> Step:
        """See ``Run``."""
        step = self._run(graph, batch, slots, **inputs)
        return replace(step, span=self.span.part(len(batch)))


__all__ = ["Passage", "Spanned"]
