"""An outlet: a sink behind a queue and a thread, so that a slow or dead one never slows inference.

::

    frame loop ── write ──> queue (bounded) ── thread ──> sink
                              │ full: a live source loses the result, a finite one waits for room
                              v
                            losses, counted by stream

A finite source waits only for a sink that makes progress. One that fails is tried again after a back-off, and
one that has been silent for ``PATIENCE_S`` is not waited for; what comes meanwhile is lost and counted.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tta.protocols import Sink
from tta.records import Frame, Result
from tta.runtime.backoff import Backoff
from tta.runtime.redaction import redact
from tta.runtime.sink_uri import open_sink

if TYPE_CHECKING:
    from tta.runtime.stream import Stream

CAPACITY = 1024  # results that may wait
PICTURES = 8  # the same for a sink that wants the frames themselves, which are large
IDLE_S = 0.02  # between two looks at an empty queue
PATIENCE_S = 5.0  # that a finite source waits for a sink without progress
CLOSING_S = 10.0  # that the end of a run waits for what is in the queue
NO_DATA = np.empty(0, np.uint8)


class Outlet:
    """Hands results to a sink on a thread of its own, in order.

    The frames' readings are left behind, unless the sink says ``pictures = True``.

    Args:
        sink: where they go.
        name: for messages.
        waits: whether a full queue is waited for, as finite sources do.
        capacity: results that may wait; by default as many as memory allows for.

    Attributes:
        written: results that the sink took.
        lost: results that it did not, by stream.
        error: what went wrong last.
    """

    def __init__(
        self, sink: Sink, name: str, waits: bool = False, capacity: int | None = None
    ) -> None:
        self._sink, self.name, self._waits = sink, name, waits
        self._pictures = bool(getattr(sink, "pictures", False))
        self._capacity = capacity or (PICTURES if self._pictures else CAPACITY)
        self._queue = deque[Result]()
        self._backoff, self._again_s = Backoff(), 0.0
        self._progress_s = time.monotonic()
        self._closing = threading.Event()
        self._gone: BrokenPipeError | None = None
        self.written, self.lost, self.error = 0, Counter[str](), ""
        self._last = ""
        self._abandoned = False
        if told := getattr(sink, "attach", None):
            self.attach = told
        self._thread = threading.Thread(target=self._run, name=f"sink {name}", daemon=True)
        self._thread.start()

    def write(self, result: Result) -> None:
        """Put it in the queue.

        Raises:
            BrokenPipeError: the reader of the sink has left, as with ``| head``: the run may end.
        """
        if self._gone is not None:
            raise self._gone
        if len(self._queue) >= self._capacity and not self._room():
            self.lost[result.stream] += 1
            self.error = self.error or "it is slower than the stream"
            return
        self._queue.append(result if self._pictures else _light(result))

    def _room(self) -> bool:
        """Whether there is room, after a wait for it where that has a point."""
        while self._waits and not self._again_s and len(self._queue) >= self._capacity:
            if time.monotonic() - self._progress_s > PATIENCE_S:
                self.error = f"nothing was written for {PATIENCE_S:g} s"
                return False
            time.sleep(0.001)
        return len(self._queue) < self._capacity

    def close(self) -> None:
        """Let the sink go once the queue is empty, or the time for it is over; a second time does nothing."""
        self._closing.set()
        self._thread.join(CLOSING_S)
        if self._thread.is_alive() and not self._abandoned:
            self._abandoned = True
            self.error = f"it did not end within {CLOSING_S:g} s"
        while self._abandoned and self._queue:
            self.lost[self._queue.popleft().stream] += 1

    def _run(self) -> None:
        while True:
            if self._again_s > time.monotonic() and not self._closing.is_set():
                self._closing.wait(min(IDLE_S, self._again_s - time.monotonic()))
                continue
            if self._queue:
                self._deliver()
            elif self._closing.is_set():
                break
            else:
                self._progress_s = time.monotonic()
                self._closing.wait(IDLE_S)
        try:
            self._sink.close()
        except Exception as error:
            self.error = f"closing it failed: {error}"
            lost = getattr(error, "lost", 0)
            self._count(lost, lost, self._last)

    def _count(self, lost: int, taken: int, stream: str) -> None:
        """Count losses, some of which a sink that holds results back seemed to have taken."""
        self.written -= taken
        self.lost[stream] += lost

    def _deliver(self) -> None:
        """The oldest result, which stays in the queue until the sink has it or has failed on it."""
        result = self._queue[0]
        try:
            self._sink.write(result)
        except BrokenPipeError as error:
            self._gone = error
            self._queue.clear()
            self._closing.set()
            return
        except Exception as error:
            self.error = str(error) or type(error).__name__
            lost = getattr(error, "lost", 1)  # of those that it held back, too
            self._count(lost, lost - 1, result.stream)
            self._again_s = time.monotonic() + self._backoff.next_s()
        else:
            self.written += 1
            self._last = result.stream
            if self._again_s:
                self._again_s = 0.0
                self._backoff.reset()
        with contextlib.suppress(IndexError):  # it was abandoned meanwhile
            self._queue.popleft()
        self._progress_s = time.monotonic()


def outlet(text: str, waits: bool) -> Sink:
    """The sink that a text names, behind an outlet; one that does nothing has no use for it.

    Args:
        text: see ``open_sink``.
        waits: see ``Outlet``.
    """
    sink = open_sink(text)
    return sink if getattr(sink, "inline", False) else Outlet(sink, redact(text), waits)


def undelivered(sinks: Iterable[Sink], streams: Sequence[Stream]) -> None:
    """Write down by stream what sinks did not take, once they are closed."""
    for sink in sinks:
        if not isinstance(sink, Outlet) or not (sink.lost or sink.error):
            continue
        for stream in streams:
            lost = sink.lost[stream.name]
            stream.counts.undelivered += lost
            if lost or not sink.lost:
                stream.counts.last_undelivered = f"{sink.name}: {sink.error}"


def _light(result: Result) -> Result:
    """The result without its arrays, which would fill the memory."""
    frame = result.frame
    small = Frame(NO_DATA, frame.t_s, frame.seq, frame.source, frame.meta)
    return replace(result, frame=small, x=None)
