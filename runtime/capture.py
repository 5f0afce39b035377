"""A live source in a process of its own, which can be killed: a camera that hangs cannot hang the loop.

The process (``capture_child``) opens the source and keeps its newest frame in shared memory; here it is
taken, and what was never taken counts as dropped. What can go wrong is counted, told once, and answered by
a new process after a back-off:

==========  =======================================================================
``hangs``   no frame for ``deadline_s``, or not open after ``open_s``: it is killed
``deaths``  the process ended without a word: killed, out of memory, a driver's crash
``errors``  the source said why it failed: unplugged, refused, no permission
``ends``    the source ended without an error: a server closed the connection
==========  =======================================================================

Messages go to the logger ``tta.sources``, which prints them on standard error unless told otherwise, see
``tta.runtime.source_log``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from tta import errors as tta_errors
from tta.errors import SourceError, TtaError
from tta.records import Frame
from tta.runtime.backoff import Backoff
from tta.runtime.capture_process import CaptureProcess, Opener
from tta.runtime.pulse import POLL_S, beat, wait
from tta.runtime.source_log import SourceLog

_STEADY_S = 10.0  # a connection that lasted this long is no longer one of a row of failures


@dataclass
class CaptureCounts:
    """What happened to one captured source.

    Attributes:
        frames: frames that the loop got.
        dropped: frames captured and never taken, since the loop was busy.
        bad: readings that the source could make no frame of.
        resized: changes of a frame's shape or type in mid-stream.
        connections: processes that opened the source.
        hangs: see the module's docstring, as for the next three.
        deaths: see there.
        errors: see there.
        ends: see there.
    """

    frames: int = 0
    dropped: int = 0
    bad: int = 0
    resized: int = 0
    connections: int = 0
    hangs: int = 0
    deaths: int = 0
    errors: int = 0
    ends: int = 0

    def __str__(self) -> str:
        """Those that are not zero."""
        return ", ".join(f"{name} {n}" for name, n in asdict(self).items() if n)


class Capture:
    """The frames of a source that runs in a process of its own: the newest, with its own time and ``meta``.

    Sequence numbers go on over a reconnection, with a gap.

    Args:
        opener: which source.
        deadline_s: longest time without a frame.
        open_s: longest time to open, and from then to the first frame.
        reconnect: whether to open a source that failed again; else its failure ends the frames.
        insist: whether to try again where the very first opening fails, too; else that is an error.
        give_up_s: the longest time without any frame; by default try for ever.

    Attributes:
        counts: of what happened.
        log: where its messages go; ``log.tell`` is called with each.
        backoff: how long to wait between two tries.
    """

    live = True

    def __init__(
        self,
        opener: Opener,
        *,
        deadline_s: float = 5.0,
        open_s: float = 20.0,
        reconnect: bool = True,
        insist: bool = False,
        give_up_s: float | None = None,
    ) -> None:
        if min(deadline_s, open_s, give_up_s or 1.0) <= 0:
            raise SourceError("options deadline_s, open_s and give_up_s must be positive")
        self.opener, self.counts, self.backoff = opener, CaptureCounts(), Backoff()
        self.log = SourceLog(opener.title)
        self._deadline_s, self._open_s = deadline_s, open_s
        self._reconnect, self._insist, self._give_up_s = reconnect, insist, give_up_s
        self._process: CaptureProcess | None = None
        self._closing = threading.Event()
        self._closing.set()
        self._seq = -1
        self._kind: tuple[Any, ...] = ()

    @property
    def errors(self) -> int:
        """Readings that were no frames."""
        return self.counts.bad

    @property
    def last_error(self) -> str:
        """The last message."""
        return self.log.last

    @property
    def pid(self) -> int | None:
        """The process that captures now, None between two of them."""
        return None if self._process is None else self._process.pid

    def tally(self) -> Mapping[str, int]:
        """The counts by name."""
        return asdict(self.counts)

    def __enter__(self) -> Capture:
        self._closing.clear()
        self._down = False  # whether it failed and has given no frame since
        self.log.forget()
        self.backoff.reset()
        try:
            self._start()
        except TtaError as error:
            if not (self._insist and self._reconnect):
                self.__exit__(None, None, None)
                raise
            self.log.say(str(error))
            self._down = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        self._stop()
        counts = self.counts
        if counts.bad or counts.hangs or counts.deaths or counts.errors or counts.ends:
            self.log.say(str(counts))

    def close(self) -> None:
        """End the frames, from any thread, within a quarter of a second."""
        self._closing.set()

    def __iter__(self) -> Iterator[Frame]:
        if self._closing.is_set():
            raise SourceError(f"{self.opener.title} is not open: use it in a with statement")
        seen_s = time.monotonic()
        while not self._closing.is_set():
            try:
                if self._process is None:
                    self._start()
                for frame in self._frames(self._process):
                    if self._down:
                        self.log.say(
                            f"frames again after {time.monotonic() - seen_s:.1f} s", "again"
                        )
                        self._down = False
                    if self.backoff.tries and time.monotonic() - self._opened_s > _STEADY_S:
                        self.backoff.reset()
                    yield frame
                    seen_s = time.monotonic()
                if not self._reconnect:
                    return
            except TtaError as error:
                if not self._reconnect:
                    raise
                self.log.say(str(error))
            self._stop()
            self._down = True
            if self._give_up_s is not None and time.monotonic() - seen_s > self._give_up_s:
                raise SourceError(
                    f"{self.opener.title} gave no frame for {self._give_up_s:g} s; the last try: "
                    f"{self.last_error}"
                )
            wait(self._closing, self.backoff.next_s())

    def _start(self) -> None:
        """Start a process and wait until its source is open.

        Raises:
            TtaError: it did not open; the process is gone.
        """
        self._process = process = CaptureProcess(self.opener)
        self._number = self._bad = 0
        self._first = self._seq + 1 + (self._seq >= 0)  # a gap after a reconnection
        until = time.monotonic() + self._open_s
        try:
            while not self._closing.is_set():
                if self._hear(process, until, "open"):
                    break
        except TtaError:
            self._stop()
            raise
        self.counts.connections += 1
        self._opened_s = time.monotonic()

    def _frames(self, process: CaptureProcess | None) -> Iterator[Frame]:
        """Frames of one process; TtaError where it fails."""
        until = time.monotonic() + (self._deadline_s if self._number else self._open_s)
        while process is not None and not self._closing.is_set():
            if (taken := process.take()) is not None:
                self.counts.dropped += taken.number - self._number - 1
                self._number = taken.number
                yield self._numbered(taken.frame)
                until = time.monotonic() + self._deadline_s
                if process.newer():
                    continue
            if self._hear(process, until, "end"):
                return

    def _hear(self, process: CaptureProcess, until: float, wanted: str) -> bool:
        """Listen for one event; whether the wanted one came.

        Raises:
            TtaError: the source failed, hangs, or its process died.
        """
        title, found = self.opener.title, False
        beat()
        for event in process.events(min(POLL_S, until - time.monotonic())):
            if event["event"] == "bad":
                self.counts.bad += event["count"] - self._bad
                self._bad = event["count"]
                self.log.say(f"a reading is no frame: {event['text']}", repeats="bad")
            elif event["event"] == "error":
                self.counts.errors += 1
                raise _same(event["kind"], event["text"])
            elif event["event"] == "end" and wanted == "end":
                self.counts.ends += 1
                self.log.say("it ended")
                found = True
            found = found or event["event"] == wanted
        if found:
            return True
        if process.gone:
            if process.newer():
                return False  # its last frame first
            self.counts.deaths += 1
            raise SourceError(f"the capture process of {title} {process.obituary()}")
        if time.monotonic() > until:
            self.counts.hangs += 1
            what = "did not open" if wanted == "open" else "gave no frame"
            allowed = self._open_s if wanted == "open" or not self._number else self._deadline_s
            raise SourceError(f"{title} {what} for {allowed:g} s: its capture process is killed")
        return False

    def _numbered(self, frame: Frame) -> Frame:
        kind = (frame.data.shape, str(frame.data.dtype))
        if self._kind and kind != self._kind:
            self.counts.resized += 1
            self.log.say(f"frames are {kind} now and were {self._kind}")
        self._kind = kind
        self._seq = self._first + frame.seq
        self.counts.frames += 1
        return Frame(frame.data, frame.t_s, self._seq, frame.source, frame.meta)

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()


def _same(kind: str, text: str) -> TtaError:
    """The error that the process met, of the same class."""
    made = getattr(tta_errors, kind, SourceError)
    error: TtaError = made.__new__(made)
    error.args = (text,)
    return error
