"""Writes results as JSON lines: ``jsonl:out.jsonl?append=false&every=32&rotate_mib=0&keep=3``."""

from __future__ import annotations

from types import TracebackType

from tta.records import Result
from tta.runtime.result_record import json_line
from tta.runtime.rotating_file import RotatingFile


class Jsonl:
    """One JSON object per line: strict JSON, UTF-8.

    Lines reach the file in batches, after a second at most while results come, and at once where
    the governor decided something.

    Args:
        path: the file; its folder must exist.
        append: add to the file instead of beginning it anew.
        every: lines per batch.
        rotate_mib: size at which the file becomes ``path.1`` and another begins; 0 for never.
        keep: older files that stay.
    """

    def __init__(
        self,
        path: str,
        *,
        append: bool = False,
        every: int = 32,
        rotate_mib: float = 0.0,
        keep: int = 3,
    ) -> None:
        self._file = RotatingFile(
            "jsonl", path, append=append, every=every, mib=rotate_mib, keep=keep
        )

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
        self._file.write(json_line(result), urgent=result.report.decision is not None)

    def close(self) -> None:
        """Flush and close; a second time does nothing."""
        self._file.close()
