"""The payloads of the bridge protocol: messages to bytes and back; ``protocol`` specifies the bytes."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from tta.firmware_bridge.messages import (
    ACK,
    CONFIG,
    DATA,
    FLOAT32,
    HELLO,
    HOST,
    LOG,
    MOST_CHANNELS,
    NORM,
    PING,
    RANGE,
    SCHEMA,
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
    NormPart,
    Ping,
    Schema,
    Status,
    Time,
    string,
)

_TYPES = (np.dtype("<i2"), np.dtype("<f4"))
_HELLO = struct.Struct("<HHHBB")
_DATA = struct.Struct("<IfHBBH")
_STATUS = struct.Struct("<IIIIIIHhBBHB")
_MOMENTS = struct.Struct("<iI")
_CONFIG = struct.Struct("<IHHH")
_ACK = struct.Struct("<HBBBI")
_NORM = struct.Struct("<BBBBHf")


class _Reader:
    """Takes fields off a payload; what it cannot read raises ValueError or struct.error."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, fields: struct.Struct) -> tuple[int, ...]:
        values = fields.unpack_from(self._data, self._at)
        self._at += fields.size
        return values

    def floats(self, fields: struct.Struct) -> tuple[float, ...]:
        values = self.take(fields)
        if not all(map(math.isfinite, values)):
            raise ValueError("a number is not finite")
        return values

    def bytes(self, count: int | None = None) -> bytes:
        if count is None:
            count = self._data[self._at] if self._at < len(self._data) else 256
            self._at += 1
        piece = self._data[self._at : self._at + count]
        if len(piece) < count:
            raise ValueError("payload too short")
        self._at += count
        return piece

    def end(self) -> None:
        if self._at != len(self._data):
            raise ValueError("payload too long")


def pack(message: Message) -> tuple[int, bytes]:
    """Type without its host bit, and payload."""
    if isinstance(message, Data):
        kind = int(message.samples.dtype.kind == "f")
        samples = np.ascontiguousarray(message.samples, _TYPES[kind])
        head = _DATA.pack(
            message.first & 0xFFFFFFFF,
            message.scale,
            message.mask,
            message.norm_epoch,
            kind,
            len(samples),
        )
        return DATA, head + samples.tobytes()
    if isinstance(message, Greet):
        return HELLO, struct.pack("<H", message.largest)
    if isinstance(message, Hello):
        m = message
        flags = m.booted | m.takes_norm << 1 | m.has_sentinel << 2
        head = _HELLO.pack(m.largest, m.schema.hash, m.heartbeat_ms, m.norm_epoch, flags)
        return HELLO, head + string(m.firmware) + string(m.version) + m.schema.pack()
    if isinstance(message, Status):
        return STATUS, _pack_status(message)
    if isinstance(message, Grant):
        return STATUS, struct.pack(
            "<HB", (message.credit or 0) & 0xFFFF, message.credit is not None
        )
    if isinstance(message, Config):
        return CONFIG, _CONFIG.pack(
            message.rate_mhz, message.mask, message.window, message.heartbeat_ms
        )
    if isinstance(message, Ack):
        return ACK, _ACK.pack(
            message.seq, message.kind, message.code, message.norm_epoch, message.first & 0xFFFFFFFF
        )
    if isinstance(message, NormPart):
        m2 = message
        head = _NORM.pack(m2.epoch, m2.first, len(m2.packed) // 8, m2.total, m2.crc, m2.scale)
        return NORM, head + m2.packed
    if isinstance(message, Time):
        if message.received_us is None:
            return TIME, struct.pack("<I", message.token)
        return TIME, struct.pack("<II", message.token, message.received_us)
    if isinstance(message, Log):
        return LOG, bytes([message.level]) + string(message.text)
    return PING, bytes([len(message.data)]) + message.data


def _pack_status(m: Status) -> bytes:
    flags = m.drifting | m.waiting << 1
    head = _STATUS.pack(
        m.uptime_s, m.samples, m.sent, m.overruns, m.drops, m.refused, m.supply_mv,
        m.temperature_cc, m.norm_epoch, flags, m.moved, len(m.mean),
    )  # fmt: skip
    return head + b"".join(_MOMENTS.pack(round(256 * a), b) for a, b in zip(m.mean, m.var))


def unpack(kind: int, payload: bytes, schema: Schema | None = None) -> Message:
    """The message of a payload whose type has its host bit.

    Raises:
        ValueError, struct.error: it is none.
    """
    if kind == DATA:
        return _unpack_data(payload, schema)
    r = _Reader(payload)
    message: Message
    if kind == HELLO:
        message = _unpack_hello(r)
    elif kind == STATUS:
        message = _unpack_status(r)
    elif kind == ACK:
        message = Ack(*r.take(_ACK))
    elif kind == TIME:
        message = Time(*r.take(struct.Struct("<II")))
    elif kind == LOG:
        (level,) = r.take(struct.Struct("<B"))
        message = Log(r.bytes().decode("utf-8", "replace"), level)
    elif kind in (PING, PING | HOST):
        message = Ping(r.bytes())
        if len(message.data) > 16:
            raise ValueError("a ping carries 16 bytes at most")
    elif kind == HELLO | HOST:
        message = Greet(*r.take(struct.Struct("<H")))
    elif kind == STATUS | HOST:
        credit, limited = r.take(struct.Struct("<HB"))
        message = Grant(credit if limited & 1 else None)
    elif kind == CONFIG | HOST:
        message = Config(*r.take(_CONFIG))
    elif kind == NORM | HOST:
        epoch, first, count, total, crc, scale = r.take(_NORM)
        if not math.isfinite(scale) or first + count > total or total > MOST_CHANNELS:
            raise ValueError("a norm of channels that there are not")
        message = NormPart(epoch, first, total, crc, scale, r.bytes(8 * count))
    elif kind == TIME | HOST:
        message = Time(*r.take(struct.Struct("<I")))
    else:
        raise ValueError(f"no message has type {kind}")
    r.end()
    return message


def _unpack_status(r: _Reader) -> Status:
    fields = r.take(_STATUS)
    flags, moved, count = fields[9:]
    statistics = [r.take(_MOMENTS) for _ in range(count)]
    means, variances = tuple(mean / 256 for mean, _ in statistics), tuple(v for _, v in statistics)
    values: Any = (*fields[:9], bool(flags & 1), bool(flags & 2), moved, means, variances)
    return Status(*values)


def _unpack_data(payload: bytes, schema: Schema | None) -> Data:
    first, scale, mask, epoch, kind, count = _DATA.unpack_from(payload)
    channels = mask.bit_count()
    if kind > FLOAT32 or not channels or not math.isfinite(scale):
        raise ValueError("a data frame of no known kind")
    if schema is not None and mask >> len(schema.channels):
        raise ValueError("a data frame with a channel that the schema has not")
    dtype = _TYPES[kind]
    if len(payload) - _DATA.size != count * channels * dtype.itemsize:
        raise ValueError("a data frame whose length is not what its counts say")
    samples = np.frombuffer(payload, dtype, count * channels, _DATA.size).reshape(count, channels)
    return Data(first, samples, mask, epoch, scale)


def _unpack_hello(r: _Reader) -> Hello:
    largest, expected, heartbeat_ms, epoch, flags = r.take(_HELLO)
    firmware, version = (r.bytes().decode("utf-8", "replace") for _ in range(2))
    kind, rate_mhz, count = r.take(SCHEMA)
    if kind > FLOAT32 or not 1 <= count <= MOST_CHANNELS:
        raise ValueError("a schema of no known kind")
    channels = []
    for _ in range(count):
        name, unit = (r.bytes().decode() for _ in range(2))
        channels.append(Channel(name, unit, *r.floats(RANGE)))
    schema = Schema(tuple(channels), kind, rate_mhz)
    if schema.hash != expected:
        raise ValueError("a schema that does not have its hash")
    booted, takes_norm, has_sentinel = bool(flags & 1), bool(flags & 2), bool(flags & 4)
    return Hello(
        schema, firmware, version, largest, heartbeat_ms, epoch, booted, takes_norm, has_sentinel
    )
