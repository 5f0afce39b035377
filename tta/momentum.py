"""How much of the newest batch a moving average takes: by the batch, by the frame or by stream time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tta.errors import TtaError
from tta.records import Array, Span

PIECES = (
    16  # of a time constant: a round's frames are measured under a state no older than one of them
)
LEAST = 1.0  # independent frames that what is remembered counts as, however old it is


@dataclass(frozen=True, slots=True)
class Momentum:
    """The share w of a batch in new = (1-w)·old + w·batch.

    ==============  ===========================================================================
    as it is        w = m a batch, however many frames it has
    ``ghost`` = S   w = 1 - (1-m)^(n/S) for n frames: m for each S of them, 1 - (1-m)^(1/S) for one
    ``tau_s`` = τ   w = min(1 - e^(-Δt/τ), e / (M + e)): Δt seconds of stream time passed, the batch is
                    worth e independent frames, and what is remembered M, which fades with e^(-Δt/τ),
                    though not below ``LEAST``
    ==============  ===========================================================================

    With ``tau_s`` and equally rich batches both terms agree. Frames that repeat each other weigh as the few
    that they are worth beside richer ones, and after a pause they do not replace all that was known.
    The ghost rule is that of Hoffer et al., "Train longer, generalize better", NIPS 2017 (ghost batch
    normalization, its moving averages; section not checked), over n/S ghosts of one mean. The rule in
    seconds is ours.

    Args:
        share: m, above 0 and at most 1.
        ghost: frames a ghost batch; 0 for off.
        tau_s: time constant in seconds; None for off.

    >>> by_frame = Momentum(0.1, ghost=64)
    >>> one, _ = by_frame.weigh({}, Span(256), anchored=True)
    >>> round(one, 6) == round(1 - 0.9**4, 6)
    True
    """

    share: float = 0.1
    ghost: int = 0
    tau_s: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise TtaError(f"momentum is a share in 0..1 above 0, but is {self.share}")
        if self.ghost < 0:
            raise TtaError(f"ghost is a number of frames, 0 for off, but is {self.ghost}")
        if self.tau_s is not None and not (self.tau_s > 0 and math.isfinite(self.tau_s)):
            raise TtaError(f"tau_s is a time constant in seconds above 0, but is {self.tau_s}")
        if self.ghost and self.tau_s is not None:
            raise TtaError("ghost counts frames and tau_s seconds: take one of them")

    @property
    def by_batch(self) -> bool:
        """Whether each batch gets the same share, whatever it holds."""
        return not self.ghost and self.tau_s is None

    def cuts(self, span: Span, waiting: int = 0) -> list[int]:
        """Where a batch is to be cut into pieces: at the ends of ghosts, or so that none is longer than τ/16.

        Args:
            span: of the batch.
            waiting: frames before it that belong to its first ghost.
        """
        n = span.frames
        if self.ghost:
            return list(range(self.ghost - waiting, n, self.ghost))
        if self.tau_s is None or not span.seconds or span.seconds < 0:
            return []
        pieces = min(n, math.ceil(PIECES * span.seconds / self.tau_s))
        return [n * k // pieces for k in range(1, pieces)]

    def weigh(
        self, memory: Mapping[str, Array], span: Span, anchored: bool
    ) -> tuple[float, dict[str, Array]]:
        """The share of a batch, and the memory entries ``ema.*`` that the next one needs.

        Args:
            memory: a state's memory.
            span: what the batch stands for.
            anchored: the average begins at known statistics, those of the source; else with the first
                batch, as a plain mean of what has come so far.

        Raises:
            TtaError: ``tau_s`` is set and there is no stream time.
        """
        count = _number(memory, "ema.count", 0) + 1
        entries = {"ema.count": np.array(count, np.int64)}
        if self.tau_s is not None:
            share, more = self._by_time(memory, span, anchored, self.tau_s)
            return share, {**entries, **more}
        if not self.ghost:
            return (self.share if anchored else max(self.share, 1 / count)), entries
        share = 1 - (1 - self.share) ** (span.frames / self.ghost)
        frames = _number(memory, "ema.frames", 0) + span.frames
        entries["ema.frames"] = np.array(frames, np.int64)
        return (share if anchored else max(share, span.frames / frames)), entries

    def _by_time(
        self, memory: Mapping[str, Array], span: Span, anchored: bool, tau_s: float
    ) -> tuple[float, dict[str, Array]]:
        if span.seconds is None:
            raise TtaError(
                "tau_s is a time constant in seconds of stream time, and batches of a data set have none: "
                "run it on a stream, or take momentum, a share for each batch"
            )
        passed = max(span.seconds, 0.0)  # a clock set back
        total = _number(memory, "ema.seconds", 0) + passed
        known = _number(memory, "ema.effective", LEAST if anchored else 0)
        known = max(known * math.exp(-passed / tau_s), min(known, LEAST))
        bound = span.worth / (known + span.worth)
        share = -math.expm1(-passed / tau_s)
        if not anchored:  # of all time so far, not of all time ever
            share = share / -math.expm1(-total / tau_s) if total else bound
        entries = {
            "ema.seconds": np.array(total),
            "ema.effective": np.array(known + span.worth),
        }
        return min(share, bound), entries


def _number(memory: Mapping[str, Array], name: str, default: float) -> float:
    return float(memory[name]) if name in memory else default
