"""Writes results as JSON lines: ``jsonl:out.jsonl?append=false&every=32``."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType

from tta.errors import TtaError
from tta.records import Result
from tta.runtime.result_record import json_line

_LONGEST_S = 1.0  # a slow stream's lines are not held back for a full batch


class Jsonl:
    """One JSON object per line: strict JSON, UTF-8.

    Lines reach the file in batches, after a second at most while results come, and at once where
    the governor decided something.

    Args:
        path: the file; its folder must exist.
        append: add to the file instead of beginning it anew.
        every: lines per batch.
    """

    def __init__(self, path: str, *, append: bool = False, every: int = 32) -> None:
        if every < 1:
            raise TtaError(f"option every of jsonl must be at least 1, but is {every}")
        self._path = Path(os.path.expanduser(path))
        if not path or os.path.isdir(self._path):
            raise TtaError(f"jsonl needs a file, as in jsonl:out.jsonl, but was given {path!r}")
        if not os.path.isdir(self._path.parent):
            raise TtaError(
                f"the folder of {self._path} does not exist: mkdir -p {self._path.parent}"
            )
        try:
            self._file = self._path.open("a" if append else "w", encoding="utf-8", newline="\n")
        except OSError as error:
            raise TtaError(f"{self._path} cannot be written: {error.strerror}") from error
        self._every, self._held, self._flushed_s = every, 0, time.monotonic()

    def __enter__(self) -> Jsonl:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, result: Result) -> None:
        """Write one line."""
        if self._file.closed:
            raise TtaError(f"{self._path} is closed and takes no more results")
        try:
            self._file.write(json_line(result))
            self._held += 1
            urgent = result.report.decision is not None
            late = time.monotonic() - self._flushed_s > _LONGEST_S
            if urgent or late or self._held >= self._every:
                self._file.flush()
                self._held, self._flushed_s = 0, time.monotonic()
        except OSError as error:
            raise TtaError(f"{self._path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Flush and close; a second time does nothing."""
        try:
            self._file.close()
        except OSError as error:
            raise TtaError(f"{self._path} cannot be written: {error.strerror}") from error
