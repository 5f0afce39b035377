"""Test vectors of the protocol: every message once, as Python value and as bytes on the wire.

``python -m tta.firmware_bridge.vectors`` prints them as a C header, from which the C library is checked.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from tta.firmware_bridge.messages import FLOAT32
from tta.firmware_bridge.normalization import apply
from tta.firmware_bridge.protocol import (
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
    Ping,
    Schema,
    Status,
    Time,
    frame,
)

SCHEMA = Schema(
    (Channel("ax", "g", 1 / 16384, -2, 2), Channel("gz", "°/s", 0.0625, -2000, 2000)), 0, 50_000
)
SAMPLES = np.array([[0, -1], [256, 32767], [-32768, 17]], "<i2")
FLOATS = np.array([[0.0, -1.5], [1e-3, 65536.0]], "<f4")
LONG = np.zeros(
    (150, 2), "<i2"
)  # 300 bytes without one zero: a run longer than COBS can code at once
LONG[:] = 0x0101
Q15 = Norm(7, 0, ((-300, 0x4000, 9), (1000, 0x7FFF, 15)), 1 / 4096)
FLOAT = Norm(200, FLOAT32, ((0.5, 2.0), (-1.25, 0.125)))


class Vector(NamedTuple):
    """One frame: its message, header fields, sender and bytes."""

    name: str
    message: Message
    seq: int
    t_us: int
    host: bool
    wire: bytes


def vectors() -> list[Vector]:
    """All test vectors, of the schema ``SCHEMA``."""
    hello = Hello(SCHEMA, "demo", "1.0", 512, 1000, 0, True, True, True)
    status = Status(
        3600,
        180_000,
        9001,
        12,
        3,
        4,
        3300,
        -1250,
        7,
        True,
        True,
        0b10,
        (0.5, -12.25),
        (100, 70_000),
    )
    given: list[tuple[str, Message, int, int, bool]] = [
        ("hello", hello, 0, 0, False),
        ("data_int16", Data(1000, SAMPLES, 0b11), 1, 0x12345678, False),
        ("data_norm", Data(3, apply(Q15, SAMPLES), 0b11, 7, 1 / 4096), 2, 0xFFFFFFFF, False),
        ("data_one_channel", Data(5, SAMPLES[:, 1:], 0b10), 3, 1, False),
        ("data_empty", Data(5, SAMPLES[:0], 0b11), 4, 1, False),
        ("data_float32", Data(5, FLOATS, 0b11), 5, 1, False),
        ("data_long_run", Data(0x01010101, LONG, 0b11), 6, 1, False),
        ("status", status, 7, 2_000_000, False),
        ("status_bare", Status(), 8, 2_000_001, False),
        ("ack", Ack(0xABCD, 6, 2, 7, 123_456), 9, 3, False),
        ("time_answer", Time(0xDEADBEEF, 0x00010203), 10, 0x00010403, False),
        ("log", Log("sensor läuft", 2), 11, 4, False),
        ("pong", Ping(b"\0\1\2"), 65535, 5, False),
        ("greet", Greet(4096), 0, 0, True),
        ("grant", Grant(65535), 1, 1, True),
        ("grant_no_limit", Grant(), 2, 1, True),
        ("config", Config(100_000, 0b01, 20, 500), 3, 1, True),
        ("norm_off", Norm(0).parts()[0], 4, 1, True),
        ("norm_q15", Q15.parts()[0], 5, 1, True),
        ("norm_part_1", Q15.parts(1)[0], 6, 1, True),
        ("norm_part_2", Q15.parts(1)[1], 7, 1, True),
        ("norm_float", FLOAT.parts()[0], 8, 1, True),
        ("time_question", Time(0xDEADBEEF), 9, 1, True),
        ("ping", Ping(b"tta"), 10, 1, True),
        ("ping_empty", Ping(), 11, 1, True),
    ]
    return [
        Vector(name, message, seq, t_us, host, frame(message, seq, t_us, SCHEMA.hash, host=host))
        for name, message, seq, t_us, host in given
    ]


def header() -> str:
    """The vectors as a C header."""
    lines = [
        "/* Made by python -m tta.firmware_bridge.vectors; do not edit. */",
        f"#define VECTOR_SCHEMA_HASH 0x{SCHEMA.hash:04x}u",
    ]
    for v in vectors():
        body = ", ".join(f"0x{byte:02x}" for byte in v.wire)
        lines.append(f"static const unsigned char vector_{v.name}[] = {{ {body} }};")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(header())
