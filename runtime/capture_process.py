"""The parent's end of one capture process: start it, hear it, kill it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tta.runtime.newest_frame import NewestFrame, Taken

_WORDS = 2048  # bytes of standard error that are kept
_DEAD_S = 2.0  # longest wait for a killed process; one that the kernel holds is left to it


class Opener(NamedTuple):
    """The source that a capture process opens.

    Attributes:
        name: of a file in runtime/sources/, or ``my_pkg.my_mod:Class``.
        rest: its positional arguments.
        options: its keywords; plain values.
        title: what messages call it, without passwords.
    """

    name: str
    rest: Sequence[str]
    options: Mapping[str, Any]
    title: str


class CaptureProcess:
    """One running process and the memory that it publishes its newest frame in.

    Attributes:
        pid: of the process.
        gone: whether it has closed its pipe, which it does by ending.
        words: the end of what it wrote to standard error.
    """

    def __init__(self, opener: Opener) -> None:
        self.memory = NewestFrame()
        hear, tell = os.pipe()
        paths = [path or os.getcwd() for path in sys.path]
        spec = {"name": opener.name, "rest": list(opener.rest), "options": dict(opener.options)}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tta.runtime.capture_child", str(self.memory.fd), str(tell)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(self.memory.fd, tell),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,  # Ctrl-C is for the loop, which then ends this one
            )
        except OSError:
            os.close(hear)
            self.memory.close()
            raise
        finally:
            os.close(tell)
        self.pid = self._process.pid
        self.gone, self.words = False, b""
        self._hear, self._rest = hear, b""
        assert self._process.stdin is not None and self._process.stderr is not None
        self._errors = self._process.stderr.fileno()
        self._selector = selectors.DefaultSelector()
        for fd in (hear, self._errors):
            os.set_blocking(fd, False)
            self._selector.register(fd, selectors.EVENT_READ)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(spec).encode() + b"\n")
            self._process.stdin.flush()

    def events(self, wait_s: float) -> list[dict[str, Any]]:
        """What it tells, after at most so many seconds; a frame ends the wait and is no event."""
        for key, _ in self._selector.select(max(0.0, wait_s)):
            data = os.read(key.fd, 65536)
            if not data:
                self._selector.unregister(key.fd)
            if key.fd == self._errors:
                self.words = (self.words + data)[-_WORDS:]
            else:
                self.gone = self.gone or not data
                self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in lines if line]

    def take(self) -> Taken | None:
        """The newest frame that was not taken yet."""
        return self.memory.take()

    def newer(self) -> bool:
        """Whether a frame is there that was not taken yet."""
        return self.memory.newer()

    def obituary(self) -> str:
        """How it ended, in words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_DEAD_S)
        if not self.words and self._errors in self._selector.get_map():
            self.events(0)
        code = self._process.returncode
        how = f"with status {code}"
        if code is not None and code < 0:
            how = f"by {signal.Signals(-code).name}"
        lines = self.words.decode(errors="replace").strip().splitlines()
        return f"ended {how}" + (f" ({lines[-1].strip()[:200]})" if lines else "")

    def close(self, grace_s: float = 1.0) -> None:
        """Ask it to end, and kill it and what it started where it does not."""
        if self.memory.fd < 0:
            return
        assert self._process.stdin is not None and self._process.stderr is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_DEAD_S)
        self._selector.close()
        self._process.stderr.close()
        os.close(self._hear)
        self.memory.close()
