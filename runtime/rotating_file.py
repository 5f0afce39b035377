"""A text file that begins anew when it is full: ``out.csv`` → ``out.csv.1`` → ``out.csv.2`` ..."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from tta.errors import TtaError

LONGEST_S = 1.0  # a slow stream's lines are not held back for a full batch


class LostLinesError(TtaError):
    """Lines that could not be written are lost.

    Attributes:
        lost: how many.
    """

    def __init__(self, message: str, lost: int) -> None:
        super().__init__(message)
        self.lost = lost


class RotatingFile:
    """Lines, in UTF-8, that reach the file in batches, after a second at most while lines come.

    With a largest size the file and ``keep`` older ones take at most (keep + 1)·``mib``, and the oldest lines
    go. A line is never cut.

    Args:
        name: of the sink, for messages.
        path: the file; its folder must exist.
        append: add to the file instead of beginning it anew.
        every: lines a batch.
        mib: size of a file at most, 0 for no limit.
        keep: older files that stay.
        head: first line of every file, with its line feed.

    Raises:
        TtaError: the file cannot be written, or a number makes no sense.
    """

    def __init__(
        self,
        name: str,
        path: str,
        *,
        append: bool = False,
        every: int = 32,
        mib: float = 0.0,
        keep: int = 3,
        head: str = "",
    ) -> None:
        if every < 1:
            raise TtaError(f"option every of {name} must be at least 1, but is {every}")
        if not mib >= 0 or keep < 0:
            raise TtaError(
                f"options rotate_mib and keep of {name} are 0 or more, but are {mib:g}, {keep}"
            )
        self.path = Path(os.path.expanduser(path))
        if not path or os.path.isdir(self.path):
            raise TtaError(f"{name} needs a file, as in {name}:out.{name}, but was given {path!r}")
        if not os.path.isdir(self.path.parent):
            raise TtaError(f"the folder of {self.path} does not exist: mkdir -p {self.path.parent}")
        self._every, self._most, self._keep, self._head = (
            every,
            int(mib * 2**20),
            keep,
            head.encode(),
        )
        self._held: list[bytes] = []
        self._flushed_s = time.monotonic()
        self._open("a" if append else "w")

    def write(self, line: str, urgent: bool = False) -> None:
        """Add a line with its line feed; an urgent one reaches the file at once."""
        if self._file.closed:
            raise TtaError(f"{self.path} is closed and takes no more results")
        self._held.append(line.encode())
        late = time.monotonic() - self._flushed_s > LONGEST_S
        if urgent or late or len(self._held) >= self._every:
            self._flush()

    def close(self) -> None:
        """Flush and close; a second time does nothing."""
        try:
            self._flush()
        finally:
            self._file.close()

    def _flush(self) -> None:
        """Write what is held, whole or not at all."""
        lines, self._held, self._flushed_s = self._held, [], time.monotonic()
        if not lines:
            return
        try:
            data = b"".join(lines)
            if self._most and self._size + len(data) > self._most and self._size > len(self._head):
                self._rotate()
            sent = 0
            while sent < len(data):
                sent += self._file.write(data[sent:]) or 0
            self._size += len(data)
        except OSError as error:
            with contextlib.suppress(OSError):  # a part of a line would spoil the next one
                self._file.truncate(self._size)
                self._file.seek(self._size)
            raise LostLinesError(
                f"{self.path} cannot be written: {error.strerror}", len(lines)
            ) from error

    def _open(self, mode: str) -> None:
        try:
            self._file = self.path.open(f"{mode}b", buffering=0)
            self._size = self._file.seek(0, os.SEEK_END) if self.path.is_file() else 0
            if not self._size and self._head:
                self._file.write(self._head)
                self._size = len(self._head)
        except OSError as error:
            raise TtaError(f"{self.path} cannot be written: {error.strerror}") from error

    def _rotate(self) -> None:
        self._file.close()
        for k in range(self._keep, 0, -1):
            older = self.path if k == 1 else _numbered(self.path, k - 1)
            if older.exists():
                os.replace(older, _numbered(self.path, k))
        self._open("w")


def _numbered(path: Path, k: int) -> Path:
    return path.with_name(f"{path.name}.{k}")
