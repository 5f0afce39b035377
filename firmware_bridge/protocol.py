r"""The bridge protocol, version 1, byte by byte; does no I/O.

**Wire.** A frame is ``00 COBS(body) 00``: it MUST begin and end with a zero byte, and a receiver MUST
ignore empty frames. ``body = header payload crc``; all numbers but the crc are little-endian, floats are
IEEE 754::

    header   u8 version (1)   u8 type   u16 seq   u32 t_us          8 bytes
    payload  by type, below; its length MUST be exactly what its own counts say
    crc      u16, big-endian: CRC-16/XMODEM of header and payload   2 bytes

The register of the CRC starts with the schema hash, but with 0 for HELLO, LOG and PING (seed 0), so
whoever holds another schema takes no frame. A receiver MUST drop a frame whose version, type, crc or
length is wrong, and count it. Without the rule on lengths, two LOG frames whose delimiter was damaged
could pass as one. A receiver MUST skip frames longer than it can hold. Bit 7 of the type is set in all
that the host sends, so an echo is told from an answer.

``seq`` counts the frames of one sender, each by one, from 0 when it begins, modulo 2^16; a gap is the
number of frames lost on the way. ``t_us`` is the sender's clock in microseconds, modulo 2^32 (71.6 min);
STATUS MUST come more often than that. The host MAY send any ``t_us``.

**From the device**::

    01 HELLO   u16 largest body that it takes   u16 schema hash   u16 heartbeat_ms   u8 norm_epoch
               u8 flags: 1 just booted, 2 takes NORM, 4 has a drift sentinel
               str firmware   str version
               schema: u8 kind (0 int16, 1 float32)   u32 rate_mhz   u8 C (1..16)
               C times: str name  str unit  f32 scale (unit a step)  f32 lowest  f32 highest (in units)
    02 DATA    u32 first   f32 scale   u16 mask   u8 norm_epoch   u8 kind   u16 n   n·C int16 or float32
    03 STATUS  u32 uptime_s   u32 samples   u32 sent   u32 overruns   u32 drops   u32 refused
               u16 supply_mv (0 unknown)   i16 temperature_cc (0.01 °C, -32768 unknown)
               u8 norm_epoch   u8 flags: 1 the sentinel sees drift, 2 waits for credit
               u16 moved (mask of channels)   u8 m (0 or C)   m times: i32 mean (1/256 step)  u32 var (step²)
    05 ACK     u16 seq of the command   u8 its type   u8 code   u8 norm_epoch   u32 first
    07 TIME    u32 token   u32 received_us
    08 LOG     u8 level (0 debug .. 3 error)   str text
    09 PING    u8 n (0..16)   n bytes

    str is u8 length and so many bytes of UTF-8.

**From the host**::

    81 HELLO   u16 largest body that it takes   the device MUST answer HELLO and forgets its last command
    83 STATUS  u16 credit   u8 flags: 1 limited    DATA frames that it may have sent since HELLO
    84 CONFIG  u32 rate_mhz   u16 mask   u16 window   u16 heartbeat_ms      0: leave as it is
    86 NORM    u8 epoch   u8 first   u8 count   u8 C   u16 vector crc   f32 scale   count times 8 bytes:
               kind 0: i16 mean (steps)  u16 gain (0x4000..0x7fff)  u8 shift (1..30)  3 zero bytes
               kind 1: f32 mean (units)  f32 gain (1/unit)
    87 TIME    u32 token
    89 PING    u8 n (0..16)   n bytes                  the device MUST answer the same bytes

**Schema.** Its hash is the CRC of the schema block without its rate, register 0xFFFF; 0 becomes 1. A
sample has one value of each channel whose mask bit is set, lowest bit first. ``first`` numbers the first
sample of a DATA frame since boot, counting those that the device had to drop, so losses are known in
samples as well as in frames. A value is the number in the frame times ``scale``; at norm epoch 0 that
times the channel's scale is the reading in units, at another epoch it is the normalized reading z, and
``x = z·std + mean`` of that NORM.

**Commands** (CONFIG, NORM) are stop-and-wait: the host MUST have one under way at most, and repeats it
with the same seq until its ACK comes. The device MUST answer a repetition as it answered the first, and
MUST NOT act again. Codes: 0 done, 1 not supported or switched off, 2 out of range, 3 vector crc wrong, 4
too soon.

**NORM.** A vector of C channels MAY come in several frames; the device MUST act only when every channel
has come and the vector crc (CRC of all C·8 bytes, register 0xFFFF) fits. Kind 0: ``y = sat16((d·gain +
2^(shift-1)) >> shift)``, ``d = sat16(x - mean)``, the shift arithmetic; DATA repeats the ``scale`` of
the NORM, so ``z = y·scale``. Kind 1: ``y = (x - mean)·gain``, scale 1. The epoch changes between two
DATA frames; its ACK says from which sample. Epoch 0, with count and C 0, means raw; a device MUST begin
there, MUST leave NORM off until its firmware switches it on, and MAY refuse gains and rates of change
(2, 4).

**Credit** counts DATA frames: the device MAY send one while ``credit - sent`` modulo 2^16 is in
1..2^15-1. It is a total, so a lost grant costs nothing. Until the first grant since HELLO there is no
limit.

**Clocks.** The host notes when it asked (t1) and when the answer came (t4); ``received_us`` is t2, the
header's ``t_us`` t3.

Test vectors: ``tta.firmware_bridge.vectors``; each is checked against the C library byte by byte. The
first of them::

    >>> frame(Ping(b"tta"), seq=7, t_us=1000, host=True).hex(" ")
    '00 04 01 89 07 03 e8 03 01 07 03 74 74 61 7d 8d 00'

After MCUboot's and Zephyr's COBS framing, MAVLink 2's CRC_EXTRA (seed by schema) and NTP's four times.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from tta.firmware_bridge import payloads
from tta.firmware_bridge.framing import Bodies, Splitter, crc16, encode
from tta.firmware_bridge.messages import (
    ACK,
    CONFIG,
    DATA,
    HELLO,
    HOST,
    LOG,
    NORM,
    PING,
    STATUS,
    TIME,
    Ack,
    Channel,
    Config,
    Data,
    Grant,
    Greet,
    Hello,
    Log,
    Message,
    Norm,
    NormPart,
    Ping,
    Schema,
    Status,
    Time,
)

VERSION = 1
HEADER = struct.Struct("<BBHI")
OVERHEAD = HEADER.size + 2
UNSEEDED = frozenset({HELLO, LOG, PING})


class Received(NamedTuple):
    """One intact frame.

    Attributes:
        seq: its number among its sender's frames, modulo 2^16.
        t_us: its sender's clock, modulo 2^32.
        message: what it says.
    """

    seq: int
    t_us: int
    message: Message


def body(message: Message, seq: int, t_us: int, schema_hash: int = 0, *, host: bool) -> bytes:
    """Header, payload and crc, before COBS."""
    kind, payload = payloads.pack(message)
    head = HEADER.pack(VERSION, kind | HOST * host, seq & 0xFFFF, t_us & 0xFFFFFFFF)
    seed = 0 if kind in UNSEEDED else schema_hash
    return head + payload + crc16(head + payload, seed).to_bytes(2, "big")


def frame(message: Message, seq: int, t_us: int, schema_hash: int = 0, *, host: bool) -> bytes:
    """A message as it goes on the wire.

    Args:
        message: what to say.
        seq: number of the frame.
        t_us: the sender's clock.
        schema_hash: of the device's schema; HELLO, LOG and PING need none.
        host: whether the host sends it.
    """
    return encode(body(message, seq, t_us, schema_hash, host=host))


class Decoder:
    r"""Bytes in, messages out, whatever the bytes are.

    Args:
        host: whether it is the host that receives.
        largest: bytes of a body that it takes.

    Attributes:
        schema: of the device, None before its HELLO; the host's decoder takes it from there.
        frames: intact frames so far.
        bad: frames so far with a wrong crc, version, type or length, or that were no COBS.
        early: those among the bad that came before any HELLO, so that their crc could not be checked.
        echoes: intact frames that came from our own side.

    >>> decoder = Decoder(host=False)
    >>> decoder.feed(frame(Ping(b"?"), 1, 0, host=True) + b"noise" + b"\0")
    [Received(seq=1, t_us=0, message=Ping(data=b'?'))]
    >>> decoder.bad
    1
    """

    def __init__(self, *, host: bool = True, largest: int = 8192) -> None:
        self.schema: Schema | None = None
        self.schema_hash = 0
        self.frames = self.unfit = self.early = self.echoes = 0
        self._host = host
        self._splitter = Splitter(largest)

    @property
    def bad(self) -> int:
        """Frames so far that could not be used."""
        return self.unfit + self._splitter.bad + self._splitter.oversize

    @property
    def oversize(self) -> int:
        """Frames so far that were longer than the largest."""
        return self._splitter.oversize

    def cut(self) -> None:
        """Forget the beginning of a frame: the connection was broken."""
        self._splitter.cut()

    def trust(self, schema: Schema) -> None:
        """Take DATA and the like from now on as this schema's."""
        self.schema, self.schema_hash = schema, schema.hash

    def feed(self, data: bytes) -> list[Received]:
        """The messages that these bytes complete."""
        bodies: Bodies = self._splitter.feed(data)
        found = []
        begin = 0
        for end in bodies.bounds[1:]:
            received = self._open(bodies.data[begin:end])
            begin = end
            if received is not None:
                found.append(received)
        return found

    def _open(self, body: bytes) -> Received | None:
        if len(body) < OVERHEAD or body[0] != VERSION:
            self.unfit += 1
            return None
        _, kind, seq, t_us = HEADER.unpack_from(body)
        sort = kind & ~HOST
        seed = 0 if sort in UNSEEDED else self.schema_hash
        if crc16(body, seed):
            self.unfit += 1
            self.early += not self.schema_hash
            return None
        if bool(kind & HOST) is self._host:
            self.echoes += 1
            return None
        try:
            message = payloads.unpack(kind, body[HEADER.size : -2], self.schema)
        except (ValueError, struct.error):
            self.unfit += 1
            return None
        self.frames += 1
        if isinstance(message, Hello):
            self.trust(message.schema)
        return Received(seq, t_us, message)


def gap(last: int | None, seq: int) -> int:
    """Frames lost between two, modulo 2^16; 0 where there is none before.

    >>> gap(65535, 2), gap(None, 9), gap(4, 5)
    (2, 0, 0)
    """
    return 0 if last is None else (seq - last - 1) & 0xFFFF


def scaled(data: Data) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """The values ``(n, C)`` of a DATA message: its numbers times its scale."""
    values = data.samples.astype(np.float32)
    return values if data.scale == 1 else values * np.float32(data.scale)


__all__ = [
    "ACK",
    "CONFIG",
    "DATA",
    "HELLO",
    "LOG",
    "NORM",
    "PING",
    "STATUS",
    "TIME",
    "Ack",
    "Channel",
    "Config",
    "Data",
    "Decoder",
    "Grant",
    "Greet",
    "Hello",
    "Log",
    "Message",
    "Norm",
    "NormPart",
    "Ping",
    "Received",
    "Schema",
    "Status",
    "Time",
    "body",
    "frame",
    "gap",
    "scaled",
]
