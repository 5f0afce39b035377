"""Keeps adaptation within what the board can spare, so that it yields before a frame is lost.

::

    credit  += level · budget · time gone by,   at most one second's worth
    credit  -= what rounds took
    level    halved while there is trouble; after CALM_S without, a tenth is added each second

Rounds of live streams begin while there is credit. Trouble is any of: more than one frame in twenty lost
since the last look; a processor within ``NEAR_C`` of where its clocks fall; more memory than the process may
have. A processor counts as cool again ``COOL_C`` below that point, so that the level does not swing with a
degree. From nothing the level is whole again in CALM_S + 10 s, and no debt is larger than DEBT_S of it.
The governor's early looks, by which a stream returns to the source, are never held back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tta.runtime import pulse
from tta.runtime.regime import Regime
from tta.runtime.stream import Stream

LOOK_S = 1.0  # between two looks
DEBT_S = 5.0  # of the budget, that rounds may have taken in advance at most
CALM_S = 5.0  # without trouble before the level rises
RISE = 0.1  # a look
LOST = 0.05  # share of a look's frames that may be lost for other reasons
FEW = 2  # frames that always may
LEAST = 1 / 16  # below, the level is nothing
NEAR_C = 5.0
COOL_C = 8.0


class BudgetKeeper:
    """Gives the streams of a run leave to adapt; a listener of the loop's pulse.

    Args:
        share: of the time that all rounds together may take, 1 for no limit of its own.
        hottest_c: temperature of the processor in °C, None where it cannot be read.
        throttle_c: where its clocks fall, None where that is not known.
        resident_mib: memory of the process.
        memory_mib: what it may have, None for no limit.
        clock: seconds, for tests.

    Attributes:
        level: share of the budget that is in use, 0 to 1.
        lowered: looks at which there was trouble.
        why: the last of it.
    """

    def __init__(
        self,
        share: float,
        hottest_c: Callable[[], float | None] = lambda: None,
        throttle_c: float | None = None,
        resident_mib: Callable[[], float | None] = lambda: None,
        memory_mib: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.share, self.level, self.lowered, self.why = share, 1.0, 0, ""
        self._hottest_c, self._throttle_c = hottest_c, throttle_c
        self._resident_mib, self._memory_mib = resident_mib, memory_mib
        self._clock = clock
        self._streams: Sequence[Stream] = ()
        self._at_s = self._looked_s = self._troubled_s = clock()
        self._credit_s = share
        self._spent_s, self._missed, self._frames = 0.0, 0, 0
        self._hot = False

    @contextmanager
    def beside(self, streams: Sequence[Stream], when: Regime) -> Iterator[None]:
        """Keep these streams' budget while the block runs; files have all the time that they need."""
        if not any(stream.counts.live for stream in streams):
            yield
            return
        self._streams = streams
        self._at_s = self._looked_s = self._clock()
        self._troubled_s = self._at_s - CALM_S
        pulse.listen(self.beat)
        try:
            yield
        finally:
            pulse.leave(self.beat)
            for stream in streams:
                stream.rests = False  # what is due at the end may come

    def beat(self) -> None:
        """Once a frame: take stock, and once a second look whether there is trouble."""
        now = self._clock()
        spent = sum(stream.counts.adapt_s for stream in self._streams)
        earned = self.level * self.share * (now - self._at_s)
        credit_s = min(self._credit_s + earned, self.share) - (spent - self._spent_s)
        self._credit_s = max(credit_s, -DEBT_S * self.share)  # one in a slow moment may be long
        self._at_s, self._spent_s = now, spent
        if now - self._looked_s >= LOOK_S:
            self._looked_s = now
            self._look(now)
        rests = self._credit_s <= 0 or not self.level
        for stream in self._streams:
            stream.rests = rests

    def _look(self, now: float) -> None:
        trouble = self._trouble()
        if trouble:
            self._troubled_s, self.why = now, trouble
            self.lowered += 1
            self.level = self.level / 2 if self.level / 2 >= LEAST else 0.0
        elif now - self._troubled_s >= CALM_S:
            self.level = min(1.0, self.level + RISE)

    def _trouble(self) -> str:
        frames = sum(stream.counts.frames for stream in self._streams)
        missed = sum(stream.counts.missed for stream in self._streams)
        lost, came = missed - self._missed, missed - self._missed + frames - self._frames
        self._missed, self._frames = missed, frames
        heat = self._hottest_c()
        if heat is not None and self._throttle_c is not None:
            self._hot = heat >= self._throttle_c - (COOL_C if self._hot else NEAR_C)
        memory = self._resident_mib()
        if self._memory_mib is not None and memory is not None and memory > self._memory_mib:
            return f"{memory:.0f} MiB are in use, and {self._memory_mib:g} may be"
        if self._hot:
            return f"the processor has {heat:.0f} °C, and its clocks fall at {self._throttle_c:g}"
        return f"{lost} of {came} frames were lost" if lost > max(FEW, LOST * came) else ""
