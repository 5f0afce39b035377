"""A device in pure Python: what the C library does, for demos and tests without hardware or emulators."""

from __future__ import annotations

from collections import deque

import numpy as np

from tta.firmware_bridge import normalization
from tta.firmware_bridge.framing import crc16
from tta.firmware_bridge.messages import (
    BAD_VECTOR,
    CONFIG,
    DONE,
    INT16,
    NORM,
    OUT_OF_RANGE,
    UNSUPPORTED,
)
from tta.firmware_bridge.protocol import (
    Ack,
    Config,
    Data,
    Decoder,
    Grant,
    Greet,
    Hello,
    Message,
    Norm,
    NormPart,
    Ping,
    Schema,
    Status,
    Time,
    frame,
)
from tta.records import Array


class EmulatedDevice:
    """Bytes in, bytes out, on a clock that is an argument; int16 samples.

    Args:
        schema: what its samples are.
        window: samples a DATA frame.
        ring: samples that it holds before the oldest are dropped.
        takes_norm: whether NORM is switched on.
        ppm: by how much its clock is fast.

    Attributes:
        sent: frames since it began.
        taken: samples since it began.
        overruns: samples dropped since it began.
        epoch: norm epoch in force.
    """

    def __init__(
        self,
        schema: Schema,
        window: int = 10,
        ring: int = 200,
        *,
        takes_norm: bool = True,
        ppm: float = 0.0,
    ) -> None:
        self.schema, self._window, self._size = schema, window, ring
        self._takes_norm, self._ppm = takes_norm, ppm
        self.start(0.0)

    def start(self, now_s: float) -> None:
        """Switch it on, or reset it in the middle of whatever it did."""
        self._decoder = Decoder(host=False)
        self._decoder.trust(self.schema)
        self._born_s = self._beat_s = now_s
        self.sent = self.taken = self.overruns = self.epoch = 0
        self._heartbeat_s = 1.0
        self._mask = (1 << len(self.schema.channels)) - 1
        self._ring: deque[Array] = deque()
        self._norm = Norm(0)
        self._vector = b""
        self._credit: int | None = None
        self._data_sent = 0
        self._last: tuple[int, int] | None = None
        self._answer = Ack(0, 0)
        self._out: list[bytes] = []
        self._booted = True
        self._say(self._hello(), now_s)

    def _hello(self) -> Hello:
        booted, self._booted = self._booted, False
        return Hello(
            self.schema,
            "emulated",
            "1.0",
            512,
            round(self._heartbeat_s * 1000),
            self.epoch,
            booted,
            self._takes_norm,
        )

    def _us(self, now_s: float) -> int:
        return int((now_s - self._born_s) * (1e6 + self._ppm)) & 0xFFFFFFFF

    def _say(self, message: Message, now_s: float) -> None:
        self._out.append(frame(message, self.sent, self._us(now_s), self.schema.hash, host=False))
        self.sent += 1

    def push(self, sample: Array) -> None:
        """Take a sample ``(C,)`` int16."""
        self._ring.append(np.asarray(sample, "<i2"))
        self.taken += 1
        if len(self._ring) > self._size:
            self._ring.popleft()
            self.overruns += 1

    def poll(self, received: bytes, now_s: float) -> bytes:
        """Take what came, and give what is to be sent."""
        for each in self._decoder.feed(received):
            self._take(each.message, each.seq, now_s)
        if now_s - self._beat_s >= self._heartbeat_s:
            self._beat_s = now_s
            uptime_s = int(now_s - self._born_s)
            status = Status(uptime_s, self.taken, self.sent, self.overruns, norm_epoch=self.epoch)
            self._say(status, now_s)
        while len(self._ring) >= self._window and self._may_send():
            samples = np.stack([self._ring.popleft() for _ in range(self._window)])
            first = self.taken - len(self._ring) - self._window
            sent = normalization.apply(self._norm, samples)
            chosen = [k for k in range(samples.shape[1]) if self._mask >> k & 1]
            scale = self._norm.scale if self.epoch else 1.0
            self._data_sent += 1
            self._say(Data(first, sent[:, chosen], self._mask, self.epoch, scale), now_s)
        out, self._out = b"".join(self._out), []
        return out

    def _may_send(self) -> bool:
        return self._credit is None or 0 < (self._credit - self._data_sent) & 0xFFFF < 0x8000

    def _take(self, message: Message, seq: int, now_s: float) -> None:
        if isinstance(message, Greet):
            self._last, self._credit, self._data_sent = None, None, 0
            self._say(self._hello(), now_s)
        elif isinstance(message, Grant):
            self._credit = message.credit
        elif isinstance(message, Time):
            self._say(Time(message.token, self._us(now_s)), now_s)
        elif isinstance(message, Ping):
            self._say(message, now_s)
        elif isinstance(message, Config | NormPart):
            kind = CONFIG if isinstance(message, Config) else NORM
            if self._last != (kind, seq):
                self._last = kind, seq
                first = self.taken - len(self._ring)
                code = self._configure(message) if kind == CONFIG else self._normalize(message)  # type: ignore[arg-type]
                self._answer = Ack(seq, kind, code, self.epoch, first)
            self._say(self._answer, now_s)

    def _configure(self, config: Config) -> int:
        if config.rate_mhz > self.schema.rate_mhz or config.window > self._size:
            return OUT_OF_RANGE
        if config.mask >> len(self.schema.channels):
            return OUT_OF_RANGE
        self._mask = config.mask or self._mask
        self._window = config.window or self._window
        self._heartbeat_s = (config.heartbeat_ms or self._heartbeat_s * 1000) / 1000
        return DONE

    def _normalize(self, part: NormPart) -> int:
        if not self._takes_norm:
            return UNSUPPORTED
        if part.epoch == 0:
            self._norm, self.epoch = Norm(0), 0
            return DONE
        if part.total != len(self.schema.channels):
            return OUT_OF_RANGE
        self._vector = self._vector[: 8 * part.first] + part.packed
        if len(self._vector) < 8 * part.total:
            return DONE
        if crc16(self._vector, 0xFFFF) != part.crc:
            return BAD_VECTOR
        channels = normalization.unpack_q15(self._vector)
        self._norm = Norm(part.epoch, INT16, channels, part.scale)
        self.epoch = part.epoch
        return DONE
