"""A microcontroller that prints numbers: ``serial:///dev/ttyACM0?baud=115200&channels=6``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType

from tta.errors import SourceError
from tta.firmware_bridge.csv_codec import CsvCodec
from tta.firmware_bridge.link import Link
from tta.records import Frame
from tta.runtime.redaction import redact

_PATIENCE = 100  # lines without one sample before the baud rate is doubted


class Serial:
    """One frame ``(C,)`` float32 per line of numbers, stamped when the line was read.

    The line may be cut by commas, semicolons, tabs or spaces, as Arduino sketches and the Edge
    Impulse data forwarder print it. The first line is left out, since it is mostly the rest of one.
    A bad line leaves a gap in the sequence numbers, so that no window is built over it.

    Args:
        url: a device such as ``/dev/ttyACM0``, or a pyserial URL (``socket://``, ``loop://``, ...).
        baud: bits per second.
        channels: numbers in a line; by default those of the first good line.
        silence_s: give up after so many seconds without a byte; by default wait.
        dtr: level of the DTR line; boards with native USB stay silent while it is false.

    Attributes:
        link: the port; ``link.write`` sends bytes to the board.
        codec: decoder of the connection, with the counts of bad lines.
    """

    live = True

    def __init__(
        self,
        url: str,
        *,
        baud: int = 115200,
        channels: int | None = None,
        silence_s: float | None = None,
        dtr: bool = True,
    ) -> None:
        if not url:
            raise SourceError("serial:// needs a port, as in serial:///dev/ttyACM0")
        if baud < 1 or (channels is not None and channels < 1):
            raise SourceError("options baud and channels of serial:// must be positive")
        self._name = redact(url)
        self._baud, self._channels, self._silence_s = baud, channels, silence_s
        self.link = Link(url, baud=baud, dtr=dtr, name=self._name)
        self.codec = CsvCodec(channels, skip_first=True)

    def __enter__(self) -> Serial:
        self.codec = CsvCodec(self._channels, skip_first=True)
        self.link.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.link.close()

    def __iter__(self) -> Iterator[Frame]:
        if self.link.closed:
            raise SourceError(f"{self._name} is not open: use it in a with statement")
        heard_s = time.monotonic()
        while not self.link.closed:
            data = self.link.read()
            now_s = time.monotonic()
            if data:
                heard_s = now_s
            elif self._silence_s is not None and now_s - heard_s > self._silence_s:
                raise SourceError(
                    f"{self._name} was silent for {self._silence_s:g} s: is the sketch running?"
                )
            for sample in self.codec.feed(data):
                yield Frame(sample.values, now_s, sample.seq, f"serial://{self._name}")
            self._doubt()

    @property
    def errors(self) -> int:
        """Lines that were no sample so far."""
        return self.codec.bad_lines

    @property
    def last_error(self) -> str:
        """The beginning of the last of them."""
        return f"line {self.codec.last_bad!r}" if self.codec.bad_lines else ""

    def _doubt(self) -> None:
        codec = self.codec
        if not codec.samples and codec.bad_lines >= _PATIENCE:
            expected = f"{codec.channels} numbers" if codec.channels else "numbers only"
            raise SourceError(
                f"of {codec.bad_lines} lines from {self._name} none has {expected}, the last was "
                f"{codec.last_bad!r}: check baud={self._baud} and channels"
            )
