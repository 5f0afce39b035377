"""Candidates of a bench as processes that are asked in turn."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from tta.errors import TtaError

OURS = "tta.runtime.bench_child"
EAGER = "tta.export.eager"  # the same in eager torch


class Candidate:
    """One process; ``start_s`` is from its start to its first answer.

    Args:
        name: for people.
        spec: what the process is to be, see ``bench_child``.
        module: the program.

    Raises:
        TtaError: it ended before its first answer; the message has its last line.
    """

    def __init__(self, name: str, spec: Mapping[str, Any], module: str = OURS) -> None:
        self.name, self.spec = name, dict(spec)
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(self.spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._read()
        self.start_s = time.perf_counter() - started

    def ask(self, do: str, **more: Any) -> Any:
        """Have it do something, and wait for what it says."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def end(self) -> None:
        """Let the process end."""
        if self._process.stdin is not None and self._process.poll() is None:
            try:
                self._process.stdin.write('{"do": "end"}\n')
                self._process.stdin.flush()
                self._process.wait(timeout=60)
            except (OSError, subprocess.TimeoutExpired):
                self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with suppress(OSError):  # what was left to write has no reader
                    stream.close()

    def __enter__(self) -> Candidate:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def _read(self) -> Any:
        assert self._process.stdout is not None and self._process.stderr is not None
        line = self._process.stdout.readline()
        if not line:
            last = self._process.stderr.read().strip().splitlines()[-1:]
            self.end()
            raise TtaError(f"candidate {self.name!r} ended: {''.join(last) or 'it said nothing'}")
        return json.loads(line)
