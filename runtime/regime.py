"""When a stream's adaptation rounds run: at once, at a stated share of the time, or beside it.

==========  ======================================================================================
``Inline``  at once, in the frame loop: deterministic, for files and replays
``Duty``    in the frame loop too, but all rounds together take at most a share d of the time; for live
            streams whose inference uses every core
``Worker``  in a thread of low priority beside the loop, see ``worker``; for a core to spare, or for a
            paced stream that leaves time between two frames
==========  ======================================================================================

Frames that no round has time for are dropped from the buffer, oldest first, and counted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tta.choice import AUTO
from tta.errors import TtaError
from tta.records import Decision, Span
from tta.runtime.buffer import partitions
from tta.runtime.passage import Spanned
from tta.runtime.stream import Stream

LONGEST_S = 60.0  # a duty is kept only if a round comes about once in that time


class Regime(Protocol):
    """Decides when rounds run; the loop calls ``turn`` after each answered frame."""

    def prepare(self, streams: Sequence[Stream]) -> None:
        """Before the first frame.

        Raises:
            TtaError: what was asked for cannot be kept.
        """

    def turn(self, stream: Stream, now_s: float) -> Decision | None:
        """Run, begin or settle a round of this stream; what was decided, if anything was."""

    def finish(self, streams: Sequence[Stream]) -> None:
        """After the last frame: what has begun is settled."""


class Inline:
    """Every round at once."""

    def prepare(self, streams: Sequence[Stream]) -> None:
        """Nothing to do."""

    def turn(self, stream: Stream, now_s: float) -> Decision | None:
        """The due round, run and settled."""
        work = stream.work(now_s)
        outcome = work() if work else None
        return stream.settle(outcome) if outcome else None

    def finish(self, streams: Sequence[Stream]) -> None:
        """Nothing to do."""


class Duty(Inline):
    """Rounds that together take at most a share of the time.

    Time earns credit, ``share`` seconds a second, never more than one round costs, and a round runs once its
    expected cost is earned. A round that took longer than expected leaves a debt. Of several streams the one
    whose last round is longest ago goes first. So at any moment

        spent ≤ share·elapsed + (what the latest round cost beyond what was expected).

    Args:
        share: above 0, at most 1.
        clock: seconds, for tests.
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.perf_counter) -> None:
        if not 0 < share <= 1:
            raise TtaError(f"a duty is a share of the time above 0 and at most 1, but is {share:g}")
        self.share, self._clock = share, clock
        self.spent_s, self._credit_s, self._expected_s = 0.0, 0.0, 0.0
        self._last_s = math.nan
        self._order: list[int] = []  # streams, the one whose last round is longest ago first
        self._passed: set[int] = (
            set()
        )  # those that have let the others go first since the last round

    def prepare(self, streams: Sequence[Stream]) -> None:
        """Rehearse a round of each stream, and refuse a duty that would see one too seldom."""
        for stream in streams:
            self._expected_s = max(self._expected_s, rehearse(stream, self._clock))
        self.check(self.share, len(streams))
        self._order = [id(stream) for stream in streams]
        self._last_s = self._clock()

    def check(self, share: float, streams: int) -> None:
        """Refuse a duty that would see a round too seldom, as rounds cost now."""
        cost = self._expected_s * max(1, streams)
        if cost > share * LONGEST_S:
            least = math.ceil(100 * cost / LONGEST_S) / 100
            raise TtaError(
                f"a duty of {share:g} cannot be kept: a round takes {cost:.2g} s here, so one would "
                f"come every {cost / share:.0f} s, and every {LONGEST_S:.0f} s is needed; "
                f"{f'raise it to {least:g}, ' if least <= 1 else ''}take a smaller --batch, or export fewer "
                "layers"
            )

    def turn(self, stream: Stream, now_s: float) -> Decision | None:
        """The due round, if its cost is earned."""
        now = self._clock()
        earned = 0.0 if math.isnan(self._last_s) else self.share * (now - self._last_s)
        self._last_s = now
        self._credit_s = min(self._credit_s + earned, self._expected_s)
        if self._credit_s < self._expected_s:
            return None
        if self._passes(id(stream)):
            return None
        decision = super().turn(stream, now_s)
        took = self._clock() - now
        if decision is not None:
            self._expected_s = took
            self._passed.clear()
            if id(stream) in self._order:
                self._order.remove(id(stream))
                self._order.append(id(stream))
        self._credit_s -= took
        self.spent_s += took
        return decision

    def _passes(self, key: int) -> bool:
        """Whether a stream leaves what is earned to one whose last round is longer ago: one turn, no more."""
        if key in self._passed or self._order[:1] in ([], [key]):
            return False
        self._passed.add(key)
        return True


def rehearse(stream: Stream, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that a round on a full batch takes, by a second run on noise; nothing of it is kept.

    It also loads the step graphs, which else would delay the first round.
    """
    spec = stream.model.bundle.manifest.input
    shape = [len(stream.waiting) or stream.waiting.size, *(d or 32 for d in spec.sample)]
    batch = np.random.default_rng(0).normal(size=shape).astype(spec.dtype)
    plain, slots = stream.model.adapting.run, stream.origin.slots
    run = Spanned(plain, Span(len(batch), seconds=1.0))
    took = 0.0
    for _ in range(2):
        start = clock()
        try:
            run("batch", batch, slots, alpha=0.0)
            proposal, _ = stream.method.adapt(stream.origin, batch, run)
            run("batch", batch, proposal.slots, alpha=0.0)
            stream.model.serve(proposal)
        except ValueError:  # noise may be no input to learn from; the time until there counts
            pass
        took = clock() - start
    return took


def regime(
    adapt: str, duty: float | None = None, live: bool = False, budget: float | None = None
) -> Regime:
    """The regime of those words.

    Args:
        adapt: ``inline``, ``worker``, or ``auto``: a live source in the worker, a finite one inline.
        duty: share of the time for inline rounds, None for no limit.
        live: whether a source is.
        budget: what ``auto`` lets live sources have inline, None for the worker.

    Raises:
        TtaError: unknown, or a duty for the worker.
    """
    from tta.runtime.worker import Worker

    if adapt not in ("auto", "inline", "worker"):
        raise TtaError(f"adapt is auto, inline or worker, but is {adapt!r}")
    if duty is not None and adapt == "worker":
        raise TtaError("a duty holds for inline adaptation; the worker takes what inference leaves")
    if duty is not None:
        return Duty(duty)
    if adapt == "auto" and live:
        return Worker() if budget is None else Duty(budget)
    return Worker() if adapt == "worker" else Inline()


def check_serving(
    serve: str, adapt: str = "auto", duty: float | None = None, stream: Mapping[str, Any] = {}
) -> None:
    """Refuse what serving by batches would leave without effect.

    A batch is answered with the outputs of the step on it, so the step runs there and then, on every batch.

    Args:
        serve: ``stream`` or ``batch``.
        adapt: see ``regime``.
        duty: see ``regime``.
        stream: options of ``Stream``.

    Raises:
        TtaError: an unknown way to serve, or one that an option does not go with.
    """
    if serve not in ("stream", "batch"):
        raise TtaError(f"serve is 'stream' or 'batch', but is {serve!r}")
    if serve == "stream":
        return
    buffer = stream.get("buffer", AUTO)
    for option, given in (
        ("--adapt worker", adapt == "worker"),
        ("--duty", duty is not None),
        ("--buffer", not (buffer == AUTO or partitions(buffer))),
        ("--every", stream.get("every")),
        ("--commit-s", stream.get("commit_s")),
    ):
        if given:
            raise TtaError(
                f"{option} does not go with --serve batch, which adapts on every batch before it answers it: "
                "leave one of them out"
            )
