"""What sinks have in common that write a line a result into a file."""

from __future__ import annotations

from types import TracebackType
from typing import ClassVar

from tta.records import Result
from tta.runtime.rotating_file import RotatingFile


class LineSink:
    """One line a result.

    Lines reach the file in batches, after a second at most while results come, and at once where the governor
    decided something.

    Args:
        path: the file; its folder must exist.
        append: add to the file instead of beginning it anew.
        every: lines per batch.
        rotate_mib: size at which the file becomes ``path.1`` and another begins; 0 for never.
        keep: older files that stay.
    """

    name: ClassVar[str]

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
            self.name,
            path,
            append=append,
            every=every,
            mib=rotate_mib,
            keep=keep,
            head=self.head(),
        )

    def head(self) -> str:
        """First line of every file, empty for none."""
        return ""

    def line(self, result: Result) -> str:
        """The result as a line, with its line feed."""
        raise NotImplementedError

    def __enter__(self) -> LineSink:
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
        self._file.write(self.line(result), urgent=result.report.decision is not None)

    def close(self) -> None:
        """Flush and close; a second time does nothing."""
        self._file.close()
