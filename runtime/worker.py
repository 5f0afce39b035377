"""One thread of low priority that runs the adaptation rounds of all streams beside the frame loop.

A round builds the new session and probes it there; the loop only swaps the reference, between two frames. A
stream has at most one round under way, and meanwhile its buffer keeps the newest frames.

The thread gets the idle scheduling class on Linux, else nice 19: on one core it then runs in the gaps between
frames. A second thread has normal priority. It builds sessions that have threads of their own, since these
inherit the priority of the thread that builds them; and it takes down the sessions that were swapped out and
trims the heap, whose lock a thread of low priority must not hold for long.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tta.records import Decision
from tta.runtime.memory import retire
from tta.runtime.outcome import Outcome
from tta.runtime.session import InferSession
from tta.runtime.stream import Stream

LOWEST = 19
SWITCH_S = 5e-4  # how long the frame loop waits at most for the interpreter while a round holds it


class Worker:
    """Runs rounds beside the loop; ``turn`` never waits for one."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "tta-adapt", initializer=yield_to_others)
        self._builder = ThreadPoolExecutor(1, "tta-build")
        self._rounds: dict[int, Future[Outcome | None]] = {}
        self._switch_s = sys.getswitchinterval()

    def prepare(self, streams: Sequence[Stream]) -> None:
        """Hand out the second thread, and let the loop have the interpreter when it wants it."""
        for stream in streams:
            stream.retire = self._retire
            if stream.model.threads > 1:
                stream.model.builder = self._builder
        sys.setswitchinterval(SWITCH_S)

    def turn(self, stream: Stream, now_s: float) -> Decision | None:
        """Settle this stream's round if it is done, and begin the next if one is due."""
        decision = None
        under_way = self._rounds.get(id(stream))
        if under_way is not None:
            if not under_way.done():
                return None
            decision = self._settle(stream)
        work = stream.work(now_s)
        if work is not None:
            self._rounds[id(stream)] = self._thread.submit(guarded, stream, work)
        return decision

    def finish(self, streams: Sequence[Stream]) -> None:
        """Wait for what is under way, and for the round that is due after it, and end the threads."""
        try:
            self.settle(streams)
            for stream in streams:
                self.turn(stream, math.inf)
            self.settle(streams)
        finally:
            self._thread.shutdown(wait=True, cancel_futures=True)
            self._builder.shutdown(wait=True)
            for stream in streams:
                stream.model.builder = None
                stream.retire = retire
            sys.setswitchinterval(self._switch_s)

    def _retire(self, held: list[InferSession]) -> None:
        """Let go of a session that was swapped out, off the frame path."""
        self._builder.submit(retire, held)

    def settle(self, streams: Sequence[Stream]) -> list[tuple[Stream, Decision]]:
        """Wait for what is under way, and settle it; what was decided."""
        under_way = [stream for stream in streams if id(stream) in self._rounds]
        settled = [(stream, self._settle(stream)) for stream in under_way]
        return [(stream, decision) for stream, decision in settled if decision is not None]

    def _settle(self, stream: Stream) -> Decision | None:
        outcome = self._rounds.pop(id(stream)).result()
        return None if outcome is None else stream.settle(outcome)


def guarded(stream: Stream, work: Callable[[], Outcome | None]) -> Outcome | None:
    """The round's outcome; an error becomes a rollback that says what it was, and the stream lives on."""
    seen = stream.current
    try:
        return work()
    except Exception as error:
        stream.counts.failures += 1
        stream.complaint = f"adaptation failed: {type(error).__name__}: {error}"
        return Outcome(seen, "rollback", stream.complaint, {})


def yield_to_others() -> None:
    """Give the calling thread the lowest priority that there is."""
    thread = threading.get_native_id()
    system: Any = os
    with contextlib.suppress(AttributeError, OSError):
        system.setpriority(system.PRIO_PROCESS, thread, LOWEST)
    with contextlib.suppress(AttributeError, OSError):
        system.sched_setscheduler(thread, system.SCHED_IDLE, system.sched_param(0))
