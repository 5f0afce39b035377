"""What stands beside the frame loop of a process: signals, the configuration that changes, systemd.

::

    SIGHUP    read the configuration again, between two frames
    SIGTERM   end the run as Ctrl-C does, between two frames; states and logs are closed in order
    (beat)    ping systemd's watchdog, and say in its status line how many frames there were

A signal sets a flag, and the next beat of the loop acts on it, so that none meets a swap half done. A
source that waits without beating is interrupted after a grace of ``GRACE_S``.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from tta.errors import TtaError
from tta.records import Decision
from tta.runtime import pulse
from tta.runtime.journal import Journal
from tta.runtime.live import Running, change
from tta.runtime.notify import Notifier
from tta.runtime.redaction import redact
from tta.runtime.regime import Regime
from tta.runtime.stream import Stream

GRACE_S = 2.0
IDLE_S = 20.0  # without a frame, from which the status line says so
ACTION = "configure"  # of its rows in the audit log


class Steward:
    """Enter it around a run, and give the run its ``beside``.

    Args:
        told: what the run was told, by key.
        again: reads it again, None where there is no file.
        notifier: tells systemd.
        say: takes sentences for people.
        clock: seconds, for tests.

    Attributes:
        keepers: sinks of the run that keep states and logs.
        stopped: whether SIGTERM came, or the terminal went.
    """

    def __init__(
        self,
        told: argparse.Namespace,
        again: Callable[[], argparse.Namespace] | None,
        notifier: Notifier | None = None,
        say: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.told, self._again = told, again
        self.keepers: Sequence[object] = ()
        self._notifier = notifier or Notifier()
        self._say = say or (lambda sentence: sys.stderr.write(f"tta: {sentence}\n"))
        self._before: dict[int, Any] = {}
        self._clock, self._frames, self._since_s = clock, -1, clock()
        self._run: Running | None = None
        self._thread = threading.get_ident()
        self._reload = self._over = False
        self.stopped = False
        self._terminal = _has_terminal()

    def __enter__(self) -> Steward:
        if threading.current_thread() is threading.main_thread():
            self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._stop)
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._interrupt)
            if self._again is not None:
                self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hang_up)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._notifier.close()

    @contextmanager
    def beside(self, streams: Sequence[Stream], when: Regime) -> Iterator[None]:
        """All is open, and the first frame comes; left first when the run ends."""
        serve = getattr(self.told, "serve", "stream")
        self._run = Running(streams, when, self.keepers, serve)
        self._notifier.tell("READY=1", f"STATUS={self.status()}")
        pulse.listen(self._beat)
        try:
            yield
        finally:
            pulse.leave(self._beat)
            self._over = True
            if self._before:
                signal.setitimer(signal.ITIMER_REAL, 0)
            self._notifier.tell("STOPPING=1", f"STATUS={self.status()}; states are being saved")

    def status(self) -> str:
        """One line for ``systemctl status``."""
        streams = self._run.streams if self._run else ()
        frames = sum(stream.counts.frames for stream in streams)
        commits = sum(stream.counts.commits for stream in streams)
        mode = next((stream.guard.mode for stream in streams), "")
        complaint = next((f"; {s.complaint}" for s in streams if s.complaint), "")
        now_s = self._clock()
        if frames != self._frames:
            self._frames, self._since_s = frames, now_s
        idle_s = now_s - self._since_s
        waits = f"; no frame for {idle_s:.0f} s" if idle_s > IDLE_S else ""
        said = f"{frames} frames, {commits} commits, governor {mode}{waits}{complaint}"
        return said.replace("\n", " ")

    def _beat(self) -> None:
        if threading.get_ident() != self._thread:
            return  # of a loop that is not ours
        if self.stopped:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt
        if self._reload:
            self._reload = False
            self.reload()
        if self._notifier.due:
            self._notifier.ping(self.status())

    def reload(self) -> None:
        """Read the configuration again, make the changes that can be made, and say which they are."""
        run = self._run
        if run is None or self._again is None:
            return
        self._notifier.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        settle = getattr(
            run.when, "settle", None
        )  # a worker's round would meet the change half way
        for stream, decision in settle(run.streams) if settle else ():
            self._note(stream, decision)
        try:
            sentence = self._changed(run, self._again())
        except TtaError as error:
            sentence = f"the configuration is as it was: {error}"
        self._say(sentence)
        for stream in run.streams:
            self._note(stream, Decision(ACTION, sentence, stream.serving, stream.current.step, {}))
        self._notifier.tell("READY=1", f"STATUS={self.status()}")

    def _changed(self, run: Running, new: argparse.Namespace) -> str:
        before, after = vars(self.told), vars(new)
        changed = {
            key: (before.get(key), value)
            for key, value in after.items()
            if before.get(key) != value
        }
        if not changed:
            return "the configuration was read again: nothing changed"
        if getattr(self.told, "record_choose", "") == "all" and getattr(self.told, "record", None):
            why = "the run is recorded for tta replay, which a change would break"
            made, left = list[str](), dict.fromkeys(changed, why)
        else:
            made, left = change(run, changed)
        for key in made:
            setattr(self.told, key, after[key])
        parts = [_arrow(key, *changed[key]) for key in made]
        waiting = [
            _arrow(key, *changed[key]) + (f" ({why})" if why else "") for key, why in left.items()
        ]
        return "the configuration was read again: " + "; ".join(
            [f"changed {', '.join(parts)}"] * bool(parts)
            + [f"a restart is needed for {', '.join(waiting)}"] * bool(waiting)
        )

    def _note(self, stream: Stream, decision: Decision) -> None:
        for keeper in self.keepers:
            if isinstance(keeper, Journal):
                keeper.note(stream, decision)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._over:
            return  # it ends already
        self.stopped = True
        if self._run is None:
            raise KeyboardInterrupt  # nothing has begun
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self._over:
            raise KeyboardInterrupt

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        if self._terminal and not _has_terminal():
            self._stop(number, frame)
        else:
            self._reload = True


def _arrow(key: str, old: object, new: object) -> str:
    return f"{key} {_shown(old)} → {_shown(new)}"


def _shown(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else redact(str(value))


def _has_terminal() -> bool:
    """Whether the process has a terminal; one that was closed is none."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


__all__ = ["Steward"]
