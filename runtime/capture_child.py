"""The process that ``tta.runtime.capture`` starts: it opens a source and publishes its newest frame.

It reads one JSON line from its standard input (which source, with which options: they may hold a password,
and other users can read a command line), and ends when that input ends. What it tells goes to a pipe: an
empty line for a frame, a JSON object for everything else::

    {"event": "open"}
    {"event": "bad", "count": 3, "text": "part 17 is cut off"}       frames that could not be made, so far
    {"event": "error", "kind": "SourceError", "text": "there is no camera at /dev/video0; ..."}
    {"event": "end"}                                                 the source has no more frames

It never waits for its reader: a bell that finds the pipe full is left out, since others wait there.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
import time
from collections import deque
from typing import Any

from tta import registry
from tta.errors import FrameError, TtaError
from tta.protocols import Source
from tta.runtime.newest_frame import NewestFrame

_LOOK_S = 0.25  # between two looks at what the source counted
_LONGEST = 600  # characters of a message; escaped, they still fit into one indivisible write
_GRACE_S = 0.5  # for the source to close after the reader has gone


class Voice:
    """What the process tells, over a pipe that is never waited for."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._waiting: deque[bytes] = deque(maxlen=256)
        self._lock = threading.Lock()

    def tell(self, event: str, **more: Any) -> None:
        """Send an event, now or as soon as there is room."""
        if "text" in more:
            more["text"] = str(more["text"])[:_LONGEST]
        with self._lock:
            self._waiting.append(json.dumps({"event": event, **more}).encode() + b"\n")
            self._send()

    def bell(self) -> None:
        """A frame is there."""
        with self._lock:
            if self._send():
                self._write(b"\n")

    def last(self) -> None:
        """Wait a moment for what has not been sent."""
        until = time.monotonic() + _GRACE_S
        while self._waiting and time.monotonic() < until:
            with self._lock:
                self._send()
            time.sleep(0.01)

    def _send(self) -> bool:
        while self._waiting and self._write(self._waiting[0]):
            self._waiting.popleft()
        return not self._waiting

    def _write(self, data: bytes) -> bool:
        try:
            os.write(self._fd, data)
        except BlockingIOError:
            return False
        except BrokenPipeError:
            os._exit(0)  # there is nobody to capture for
        return True


class Watch(threading.Thread):
    """Sees the reader go, and tells what the source counts while it has no frame."""

    def __init__(self, source: Source, voice: Voice) -> None:
        super().__init__(daemon=True)
        self.stop = False
        self._source, self._voice, self._told = source, voice, 0

    def look(self) -> None:
        """Tell of frames that could not be made, if there are new ones."""
        count = getattr(self._source, "errors", 0)
        if count != self._told:
            self._told = count
            self._voice.tell("bad", count=count, text=getattr(self._source, "last_error", ""))

    def run(self) -> None:
        """Until standard input ends; then the process has a moment left."""
        while True:
            readable, _, _ = select.select([0], [], [], _LOOK_S)
            if readable and not os.read(0, 4096):
                self.stop = True
                time.sleep(_GRACE_S)
                os._exit(0)  # the source hangs: nothing else ends it
            self.look()


def serve(source: Source, memory: NewestFrame, voice: Voice) -> None:
    """Publish frames until the source or the reader has gone."""
    watch = Watch(source, voice)
    with source:
        voice.tell("open")
        watch.start()
        for frame in source:
            if watch.stop:
                return
            try:
                memory.put(frame)
            except FrameError as error:
                voice.tell("error", kind="SourceError", text=error)
                return
            voice.bell()
        watch.look()
        voice.tell("end")


def _line() -> bytes:
    """One line of standard input, and nothing beyond it: no buffer, since the watch selects on it."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return line


def main() -> int:
    """Serve the source that standard input names; the exit status says whether it opened and read well."""
    memory, voice = NewestFrame(int(sys.argv[1])), Voice(int(sys.argv[2]))
    spec = json.loads(_line())
    try:
        made = registry.load("tta.runtime.sources", spec["name"])
        serve(made(*spec["rest"], **spec["options"]), memory, voice)
    except TtaError as error:
        voice.tell("error", kind=type(error).__name__, text=error)
        return 1
    except Exception as error:  # a library's: the loop is told what it was, and lives on
        voice.tell("error", kind="SourceError", text=f"{type(error).__name__}: {error}")
        return 1
    finally:
        voice.last()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # threads of a driver that hangs must not keep the process
