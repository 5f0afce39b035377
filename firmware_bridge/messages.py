"""The messages of the bridge protocol as Python values; ``protocol`` specifies their bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from tta.firmware_bridge.framing import crc16
from tta.records import Array

HELLO, DATA, STATUS, CONFIG, ACK, NORM, TIME, LOG, PING = range(1, 10)
HOST = 0x80  # set in the type of what the host sends
INT16, FLOAT32 = 0, 1
MOST_CHANNELS = 16
DONE, UNSUPPORTED, OUT_OF_RANGE, BAD_VECTOR, TOO_SOON = range(5)
CODES = (
    "done",
    "not supported, or switched off in the firmware",
    "out of range",
    "vector damaged",
    "too soon",
)
UNKNOWN_CC = -32768
SCHEMA = struct.Struct("<BIB")
RANGE = struct.Struct("<fff")
_Q15 = struct.Struct("<hHB3x")
_FLOAT = struct.Struct("<ff")


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a sensor: name, unit, units a step, and the range in units."""

    name: str
    unit: str = ""
    scale: float = 1.0
    lowest: float = -32768.0
    highest: float = 32767.0


@dataclass(frozen=True, slots=True)
class Schema:
    """What a device's samples are: their type, rate in mHz and channels."""

    channels: tuple[Channel, ...]
    kind: int = INT16
    rate_mhz: int = 0

    def pack(self) -> bytes:
        """The schema block."""
        out = [SCHEMA.pack(self.kind, self.rate_mhz, len(self.channels))]
        for c in self.channels:
            out += [string(c.name), string(c.unit), RANGE.pack(c.scale, c.lowest, c.highest)]
        return b"".join(out)

    @property
    def hash(self) -> int:
        """CRC of the block without its rate; never 0."""
        block = self.pack()
        return crc16(block[:1] + block[5:], 0xFFFF) or 1


@dataclass(frozen=True, slots=True)
class Greet:
    """HELLO of the host: asks for the device's."""

    largest: int = 8192


@dataclass(frozen=True, slots=True)
class Hello:
    """HELLO of the device."""

    schema: Schema
    firmware: str = ""
    version: str = ""
    largest: int = 256
    heartbeat_ms: int = 1000
    norm_epoch: int = 0
    booted: bool = False
    takes_norm: bool = False
    has_sentinel: bool = False


class Data(NamedTuple):
    """A batch of samples ``(n, C)`` int16 or float32, of the channels in ``mask``."""

    first: int
    samples: Array
    mask: int
    norm_epoch: int = 0
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Status:
    """Heartbeat of the device; ``mean`` in steps and ``var`` in steps², empty without a sentinel."""

    uptime_s: int = 0
    samples: int = 0
    sent: int = 0
    overruns: int = 0
    drops: int = 0
    refused: int = 0
    supply_mv: int = 0
    temperature_cc: int = UNKNOWN_CC
    norm_epoch: int = 0
    drifting: bool = False
    waiting: bool = False
    moved: int = 0
    mean: tuple[float, ...] = ()
    var: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """STATUS of the host: DATA frames that the device may have sent since HELLO, None for no limit."""

    credit: int | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """Rate, channels, samples a DATA frame, heartbeat; 0 leaves one as it is."""

    rate_mhz: int = 0
    mask: int = 0
    window: int = 0
    heartbeat_ms: int = 0


@dataclass(frozen=True, slots=True)
class Ack:
    """Answer to a command; ``first`` is the sample from which it holds."""

    seq: int
    kind: int
    code: int = DONE
    norm_epoch: int = 0
    first: int = 0


@dataclass(frozen=True, slots=True)
class NormPart:
    """A NORM frame: channels ``first`` to ``first + count`` of a vector of ``total``."""

    epoch: int
    first: int = 0
    total: int = 0
    crc: int = 0
    scale: float = 1.0
    packed: bytes = b""


@dataclass(frozen=True, slots=True)
class Norm:
    """A normalization of all channels, as the device will apply it.

    Attributes:
        epoch: 1..255, or 0 for raw.
        kind: type of the schema's samples.
        channels: ``(mean, gain, shift)`` in steps for int16, ``(mean, gain)`` in units for float32.
        scale: what a step of the result is worth.
    """

    epoch: int
    kind: int = INT16
    channels: tuple[tuple[float, ...], ...] = ()
    scale: float = 1.0

    @property
    def packed(self) -> bytes:
        """The vector's bytes."""
        one = _FLOAT if self.kind == FLOAT32 else _Q15
        return b"".join(one.pack(*(c if one is _FLOAT else map(int, c))) for c in self.channels)

    def parts(self, channels_a_frame: int = MOST_CHANNELS) -> list[NormPart]:
        """The frames that carry it."""
        packed, total = self.packed, len(self.channels)
        crc = crc16(packed, 0xFFFF) if total else 0
        step = max(1, channels_a_frame)
        return [
            NormPart(
                self.epoch, at, total, crc, self.scale, packed[8 * at : 8 * min(at + step, total)]
            )
            for at in range(0, max(total, 1), step)
        ]


@dataclass(frozen=True, slots=True)
class Time:
    """A question for the time, or with ``received_us`` the answer."""

    token: int
    received_us: int | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """A line of text; level 0 debug, 1 info, 2 warning, 3 error."""

    text: str
    level: int = 1


@dataclass(frozen=True, slots=True)
class Ping:
    """Up to 16 bytes that come back."""

    data: bytes = field(default=b"")


Message = Greet | Hello | Data | Status | Grant | Config | Ack | NormPart | Time | Log | Ping


def string(text: str) -> bytes:
    """Length, and UTF-8 of at most 255 bytes."""
    data = text.encode()[:255]
    return bytes([len(data)]) + data
