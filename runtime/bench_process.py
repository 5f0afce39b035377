"""Candidates of a bench as processes that are asked in turn."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
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

    What it writes to stderr goes to a file: nobody reads it meanwhile, and a full pipe would stop it.

    Args:
        name: for people.
        spec: what the process is to be, see ``bench_child``.
        module: the program.

    Raises:
        TtaError: it ended before its first answer; the message has its last line.
    """

    def __init__(self, name: str, spec: Mapping[str, Any], module: str = OURS) -> None:
        self.name, self.spec = name, dict(spec)
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  end() closes it
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(self.spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        self._read()
        self.start_s = time.perf_counter() - started

    def ask(self, do: str, **more: Any) -> Any:
        """Have it do something, and wait for what it says.

        Raises:
            TtaError: it has ended; the message has its last line.
        """
        assert self._process.stdin is not None
        with suppress(OSError):  # if it is gone, reading says why
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
            except (OSError, ValueError, subprocess.TimeoutExpired):
                self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
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
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._said.seek(0)
            last = "".join(self._said.read().strip().splitlines()[-1:])
            if last.startswith("tta.errors."):  # the sentence alone
                last = last.partition(": ")[2]
            self.end()
            silent = f"signal {-code} ended it" if code < 0 else "it said nothing"
            raise TtaError(f"candidate {self.name!r} ended: {last or silent}")
        return json.loads(line)
