"""A microcontroller on a port: ``serial:///dev/ttyACM0``, any sketch that prints numbers, or our firmware."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import numpy as np

from tta.errors import SourceError
from tta.firmware_bridge import normalization
from tta.firmware_bridge.bridge import Bridge
from tta.firmware_bridge.csv_codec import CsvCodec
from tta.firmware_bridge.link import Link
from tta.firmware_bridge.protocol import Decoder, Norm
from tta.firmware_bridge.session import Command, Heard, Samples
from tta.records import Frame
from tta.runtime.channel_norm import ChannelNorm, Correction, attach
from tta.runtime.pulse import beat
from tta.runtime.redaction import redact

_PATIENCE = 100  # lines without one sample before the baud rate is doubted
# bytes and seconds after which what a device speaks is known, or nothing
_MOST, _LOOK_S = 4096, 10.0
_TEXT = bytes([9, *range(0x20, 0x7F)])
_QUIET_S = 2.5  # without a byte before our firmware is asked whether it is there


class Serial:
    """What a device measures, in one of two codecs.

    ``csv``: one frame ``(C,)`` float32 per line of numbers, stamped when the line was read. The line may be
    cut by commas, semicolons, tabs or spaces, as Arduino sketches and the Edge Impulse data forwarder print
    it. The first line is left out, since it is mostly the rest of one.

    ``cobs``: one frame ``(C, n)`` float32 per DATA frame of our firmware, in units, on the device's clock as
    seen from ours; a normalization that the device applies is undone. A broken connection is opened again.

    ``auto`` looks at the first bytes and sends nothing before it knows, unless they do not come at all.

    A bad line, lost samples and a restart of the device leave a gap in the sequence numbers, so no window is
    built over them. Frames of our firmware say in ``meta``: ``norm_epoch``, ``first`` (number of the first
    sample), and where something was lost, ``lost_frames``, ``lost_samples``, ``restarted``.

    Args:
        url: a device such as ``/dev/ttyACM0``, or a pyserial URL (``socket://``, ``loop://``, ...).
        baud: bits per second.
        channels: numbers in a line; by default those of the first good line.
        silence_s: give up after so many seconds without a byte, also while a broken connection is opened
            again; by default wait, but 10 s at most for the first byte of a device whose codec is not known.
        dtr: level of the DTR line; boards with native USB stay silent while it is false.
        codec: ``auto``, ``csv`` or ``cobs``.
        reconnect: whether to open a broken connection again; by default with our firmware only.
        hello_s: longest wait for our firmware's HELLO.
        correct: ``off``; ``host``: bring channels whose statistics have moved back to the source's, here;
            ``device``: push that correction down to our firmware as a NORM, and leave it here where the
            firmware does not take it.
        horizon: samples that are looked at together for it; they should hold all that the sensor
            normally does.

    Attributes:
        link: the port; ``link.write`` sends bytes to the board.
        codec: decoder of lines of the connection, with the counts of bad lines.
        bridge: the conversation with our firmware, None with any other.
        tell: called with everything that our firmware says, None by default.
        norm: what corrects the channels, None where nothing does.
        pushed: the last NORM pushed down, None before.
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
        codec: str = "auto",
        reconnect: bool | None = None,
        hello_s: float = 3.0,
        correct: str = "off",
        horizon: int = 3000,
    ) -> None:
        if not url:
            raise SourceError("serial:// needs a port, as in serial:///dev/ttyACM0")
        if baud < 1 or (channels is not None and channels < 1):
            raise SourceError("options baud and channels of serial:// must be positive")
        if codec not in ("auto", "csv", "cobs"):
            raise SourceError(f"option codec of serial:// is auto, csv or cobs, but is {codec!r}")
        if correct not in ("off", "host", "device"):
            raise SourceError(
                f"option correct of serial:// is off, host or device, but is {correct!r}"
            )
        if horizon < 64:
            raise SourceError("option horizon of serial:// must be at least 64 samples")
        self._correct, self._horizon = correct, horizon
        self.norm: ChannelNorm | None = None
        self.pushed: Command | None = None
        self._name = redact(url)
        self._baud, self._channels, self._silence_s = baud, channels, silence_s
        self._kind, self._reconnect = codec, reconnect
        self._ours = Bridge(
            url,
            baud=baud,
            dtr=dtr,
            name=self._name,
            reconnect=reconnect is not False,
            hello_s=hello_s,
        )
        self.link: Link = self._ours.link
        self.bridge: Bridge | None = None
        self.tell: Callable[[Heard | None], None] | None = None
        self.codec = CsvCodec(channels, skip_first=True)

    def __enter__(self) -> Serial:
        self.codec = CsvCodec(self._channels, skip_first=True)
        self.bridge = None
        self._ours.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the frames, from any thread."""
        self._ours.close()

    def __iter__(self) -> Iterator[Frame]:
        if self.link.closed:
            raise SourceError(f"{self._name} is not open: use it in a with statement")
        self._heard_s = time.monotonic()
        kind, first = (self._kind, b"") if self._kind != "auto" else self._look()
        if kind == "cobs":
            self.bridge = self._ours
            yield from self._batches(first)
        else:
            yield from self._lines(first)

    def attach(self, stream: Any) -> None:
        """Correct the channels of the stream that this source is for; asked for by the option ``correct``."""
        if self._correct != "off":
            self.norm = attach(stream, self._horizon, self._push)

    def _push(self, correction: Correction | None) -> None:
        hello = self._ours.session.hello
        if self.bridge is None or hello is None or self._correct != "device":
            return
        if correction is None:
            self.pushed = self.bridge.normalize(Norm(0))
            return
        with contextlib.suppress(ValueError):  # beyond what its fixed point can do: it stays here
            epoch = self.bridge.session.free_epoch()
            norm = normalization.make(epoch, correction.mean, correction.std, hello.schema)
            self.pushed = self.bridge.normalize(norm)

    def _look(self) -> tuple[str, bytes]:
        """What the device speaks, and the bytes that told it."""
        seen = b""
        asked = False
        decoder = Decoder()
        began_s = time.monotonic()
        while not self.link.closed:
            data = self.link.read()
            seen += data
            self._listen(data)
            decoder.feed(data)
            if decoder.frames or decoder.early:  # early: of ours, but its crc cannot be checked yet
                return "cobs", seen
            # What comes before the first line end may be the noise of a boot at another rate.
            _, _, tail = seen.replace(b"\r", b"\n").partition(b"\n")
            if 0 not in tail and _has_text(tail) and (len(seen) >= 16 or not data):
                return "csv", seen
            if not seen:
                began_s = time.monotonic()
                if self._silence_s is None and began_s - self._heard_s > _LOOK_S:
                    raise SourceError(
                        f"{self._name} sent nothing for {_LOOK_S:g} s, not even when asked: is the sketch "
                        "running, and this its port? (codec=csv or silence_s=60 waits longer)"
                    )
                if not asked and began_s - self._heard_s > _QUIET_S:
                    asked = True
                    self._ask(began_s)
            elif len(seen) >= _MOST or time.monotonic() - began_s > _LOOK_S:
                if _has_text(tail):
                    return "csv", seen  # lines among noise: the codec counts
                raise SourceError(
                    f"{self._name} sent {len(seen)} bytes that are neither lines of numbers nor our "
                    f"protocol (first {seen[:12]!r}): check baud={self._baud}"
                )
        return "csv", seen

    def _listen(self, data: bytes) -> None:
        beat()
        now_s = time.monotonic()
        if data:
            self._heard_s = now_s
        elif self._silence_s is not None and now_s - self._heard_s > self._silence_s:
            why = self._ours.trouble or "is the sketch running?"
            raise SourceError(f"{self._name} was silent for {self._silence_s:g} s: {why}")

    def _ask(self, now_s: float) -> None:
        try:
            self.link.write(self._ours.session.due(now_s))
        except SourceError:
            if not self.link.closed:  # else it was closed by another thread
                raise

    def _lines(self, data: bytes) -> Iterator[Frame]:
        while not self.link.closed:
            for sample in self.codec.feed(data):
                yield Frame(sample.values, self._heard_s, sample.seq, f"serial://{self._name}")
            self._doubt()
            try:
                data = self.link.read()
            except SourceError:
                if not self._reconnect:
                    raise
                for _ in self._ours.again():
                    self._listen(b"")
                self.codec.skip()  # and where it was closed meanwhile, the loop ends
                data = b""
                continue
            self._listen(data)

    def _batches(self, first: bytes) -> Iterator[Frame]:
        seq, last_s = -1, -np.inf
        for event in self._ours.events(first):
            self._listen(b"" if event is None else b"?")
            if self.tell is not None:
                self.tell(event)
            if not isinstance(event, Samples):
                continue
            lost = event.lost_samples > 0 or event.restarted
            if event.restarted and self.norm is not None and self.norm.correction is not None:
                self._push(self.norm.correction)  # it began anew, raw
            seq += 1 + (max(1, event.lost_frames) if lost and seq >= 0 else 0)
            last_s = max(event.t_s, last_s)
            meta = {"norm_epoch": event.epoch, "first": event.first}
            if event.lost_frames or lost:
                meta |= {
                    "lost_frames": event.lost_frames,
                    "lost_samples": event.lost_samples,
                    "restarted": event.restarted,
                }
            yield Frame(event.values.T, last_s, seq, f"serial://{self._name}", meta)

    @property
    def errors(self) -> int:
        """Lines or frames so far that were no samples, or that were lost."""
        if self.bridge is None:
            return self.codec.bad_lines
        session = self.bridge.session
        # What came before HELLO could not be checked: it is no error.
        bad = session.decoder.bad - session.decoder.early
        return bad + session.tally.lost_frames + session.tally.unknown_epoch

    @property
    def last_error(self) -> str:
        """The beginning of the last bad line, or what was lost of which kind."""
        if self.bridge is None:
            return f"line {self.codec.last_bad!r}" if self.codec.bad_lines else ""
        session = self.bridge.session
        if not self.errors:
            return ""
        tally = session.tally
        return (
            f"{session.decoder.bad - session.decoder.early} damaged frames, {tally.lost_frames} frames and "
            f"{tally.lost_samples} samples lost, {tally.restarts} restarts, {self.bridge.reconnects} "
            "reconnections"
        )

    def _doubt(self) -> None:
        codec = self.codec
        if not codec.samples and codec.bad_lines >= _PATIENCE:
            expected = f"{codec.channels} numbers" if codec.channels else "numbers only"
            raise SourceError(
                f"of {codec.bad_lines} lines from {self._name} none has {expected}, the last was "
                f"{codec.last_bad!r}: check baud={self._baud} and channels"
            )


def _has_text(lines: bytes) -> bool:
    """Whether one of the ended lines is text."""
    return any(line and not line.translate(None, _TEXT) for line in lines.split(b"\n")[:-1])
