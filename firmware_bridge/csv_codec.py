"""Decodes lines of numbers from bytes, whatever the bytes are; does no I/O."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from tta.records import Array

_END = re.compile(rb"[\r\n]")
_NUMBER = re.compile(r"(?:[A-Za-z]\w*:)?([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_LABEL = re.compile(r"(?!(?i:[+-]?(?:nan|inf|infinity|ovf)$))[A-Za-z_][\w .()/%-]*")
_LARGEST = float(np.finfo(np.float32).max)


class Sample(NamedTuple):
    """One line of numbers.

    Attributes:
        seq: its number among good and bad lines, from 0; a gap is a line that could not be used.
        values: ``(C,)`` float32, finite.
    """

    seq: int
    values: Array


class CsvCodec:
    r"""Bytes in, samples out.

    A line ends at a carriage return or line feed; its fields are cut by semicolons, else commas,
    else white space, and may carry the Arduino plotter's labels (``x:0.5``). Lines of words are
    headers; empty lines and comments (``#``) are nothing; every other line without exactly C finite
    numbers is bad, and so is one longer than ``longest`` bytes; no more than that is ever held.

    Args:
        channels: C; by default the number of fields of the first good line.
        skip_first: leave out what comes before the first line end, which after opening a port is
            mostly the rest of a line.
        longest: bytes.

    Attributes:
        samples: good lines so far.
        bad_lines: bad lines so far.
        headers: lines of words so far.
        last_bad: beginning of the last bad line.

    >>> codec = CsvCodec()
    >>> [s.values.tolist() for s in codec.feed(b"ax,ay\r\n0.5,-1\r\n0.5,oops\r\n2,")]
    [[0.5, -1.0]]
    >>> codec.feed(b"3\n"), codec.bad_lines, codec.headers
    ([Sample(seq=2, values=array([2., 3.], dtype=float32))], 1, 1)
    """

    def __init__(
        self, channels: int | None = None, *, skip_first: bool = False, longest: int = 4096
    ) -> None:
        self.channels = channels
        self.samples = self.bad_lines = self.headers = 0
        self.last_bad = b""
        self._skip, self._longest = skip_first, longest
        self._line = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> list[Sample]:
        """The samples that these bytes complete."""
        *ended, rest = _END.split(data)
        found = []
        for piece in ended:
            self._hold(piece)
            sample = self._finish()
            if sample is not None:
                found.append(sample)
        self._hold(rest)
        return found

    def skip(self) -> None:
        """A connection was broken: forget the line that had begun, and the rest of it that comes."""
        if not self._skip:
            self._skip = True
            self.bad_lines += 1  # a gap, so that no window is built over what was lost
        self._line.clear()
        self._too_long = False

    def _hold(self, piece: bytes) -> None:
        room = self._longest - len(self._line)
        self._line += piece[:room]
        self._too_long = self._too_long or len(piece) > room

    def _finish(self) -> Sample | None:
        line, too_long = bytes(self._line), self._too_long
        self._line.clear()
        self._too_long = False
        if self._skip:
            self._skip = False
            return None
        if too_long:
            self._bad(line)
            return None
        try:
            text = line.decode("ascii").strip()
        except UnicodeDecodeError:
            self._bad(line)
            return None
        if not text or text.startswith("#"):
            return None
        fields = _fields(text)
        numbers = [_NUMBER.fullmatch(field) for field in fields]
        values = [float(match[1]) for match in numbers if match]
        if len(values) < len(fields):
            if not values and all(_LABEL.fullmatch(field) for field in fields):
                self.headers += 1
                return None
            self._bad(line)
            return None
        if len(values) != (self.channels or len(values)) or max(map(abs, values)) > _LARGEST:
            self._bad(line)
            return None
        self.channels = len(values)
        self.samples += 1
        return Sample(self.samples + self.bad_lines - 1, np.array(values, np.float32))

    def _bad(self, line: bytes) -> None:
        self.bad_lines += 1
        self.last_bad = line[:40]


def _fields(text: str) -> list[str]:
    separator = next((s for s in ";," if s in text), None)
    fields = [field.strip() for field in text.split(separator)]
    # Sketches that print "value, " in a loop leave a separator at the end.
    return fields[:-1] if len(fields) > 1 and not fields[-1] else fields
