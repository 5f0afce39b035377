"""Mutated streams of the bridge protocol, by default a million: ``python -m tests.bench.bridge_mutations``.

Each stream is a few frames on the wire, damaged in one way. Whatever is undamaged must decode, and of what is
damaged next to nothing may pass. A frame counts as undamaged if its own bytes between and including its two
zeros are as sent. Nothing here knows how the decoder works.
"""

from __future__ import annotations

import argparse
import functools
import random
import time
from typing import NamedTuple

import numpy as np

from tta.firmware_bridge.framing import crc16, encode
from tta.firmware_bridge.messages import Channel
from tta.firmware_bridge.protocol import (
    Ack,
    Data,
    Decoder,
    Hello,
    Log,
    Ping,
    Schema,
    Status,
    Time,
    body,
)

SCHEMA = Schema(tuple(Channel(name, "g", 1 / 2048, -16, 16) for name in "abcdef"), 0, 50_000)
KINDS = ("burst", "wire_burst", "random", "flip", "drop", "insert", "cut", "shuffle")


on_the_wire = functools.lru_cache(maxsize=64)(encode)


class Seen(NamedTuple):
    """Undamaged frames that did not decode, and damaged ones that did."""

    lost: int
    undetected: int


def sample_frames(rng: random.Random) -> list[bytes]:
    """Bodies of one frame of every kind that a device sends, its samples small, as sensors' are."""
    generator = np.random.default_rng(rng.randrange(2**32))
    samples = np.rint(generator.normal(0, 300, (8, 6))).astype("<i2")
    messages = [
        Hello(SCHEMA, "bench", "1"),
        Data(1000, samples, 0b111111),
        Status(10, 500, 40, mean=(1.0,) * 6, var=(9,) * 6),
        Ack(3, 6),
        Time(rng.randrange(2**32), 5),
        Log("all is well"),
        Ping(b"\0\0"),
        Data(1008, samples[:3], 0b111111),
    ]
    return [body(m, k, 1000 * k, SCHEMA.hash, host=False) for k, m in enumerate(messages)]


def mutate(
    kind: str, frames: list[bytes], rng: random.Random
) -> tuple[list[bytes], list[bytes], set[int]]:
    """Frames on the wire, one of them damaged: the bodies, the wire frames, and which are damaged.

    ``burst`` damages at most 16 bits in a row of a body, before COBS: the errors that a CRC-16 is made for;
    the others damage the wire itself, so that codes and delimiters are hit as well.
    """
    wires = [on_the_wire(b) for b in frames]
    k = rng.randrange(len(frames))
    if kind == "burst":
        width = rng.randrange(1, 17)
        pattern = 1 | rng.randrange(1 << width) | 1 << (width - 1)
        n = 8 * len(frames[k])
        error = pattern << rng.randrange(n - width + 1)
        wires[k] = encode((int.from_bytes(frames[k], "big") ^ error).to_bytes(n // 8, "big"))
        return frames, wires, {k}
    wire = bytearray(wires[k])
    at = rng.randrange(len(wire))
    if kind == "random":  # all that is between the zeros
        wire[1:-1] = encode(rng.randbytes(len(frames[k])))[1:-1]
    elif kind == "wire_burst":
        width = rng.randrange(1, 17)
        pattern = 1 | rng.randrange(1 << width) | 1 << (width - 1)
        error = pattern << rng.randrange(8 * len(wire) - width + 1)
        wire = bytearray((int.from_bytes(wire, "big") ^ error).to_bytes(len(wire), "big"))
    elif kind == "flip":
        wire[at] ^= 1 << rng.randrange(8)
    elif kind == "drop":
        del wire[at : at + rng.randrange(1, 5)]
    elif kind == "insert":
        wire[at:at] = rng.randbytes(rng.randrange(1, 5))
    elif kind == "cut":
        del wire[at:]
    else:
        middle = wire[1:-1]
        rng.shuffle(middle)
        wire[1:-1] = middle
    wires[k] = bytes(wire)
    return frames, wires, {k}


def survivors(frames: list[bytes], wires: list[bytes], damaged: set[int]) -> Seen:
    """Decode a stream and say what went wrong with it."""
    decoder = Decoder()
    decoder.trust(SCHEMA)
    stream = b"".join(wires)
    found = decoder.feed(stream)
    expected = {k for k in range(len(frames)) if k not in damaged}
    got = [r.seq for r in found]
    # what damage left as it was is no damage: two equal bytes dropped for one another, an exchanged zero
    harmless = {
        k
        for k in damaged
        if k < len(wires) and on_the_wire(frames[k]).strip(b"\0") in wires[k].split(b"\0")
    }
    lost = sum(1 for k in expected if k not in got)
    undetected = sum(1 for seq in got if seq not in expected and seq not in harmless)
    return Seen(lost, undetected)


def random_rate(bodies: int, rng: np.random.Generator) -> float:
    """Share of random bodies that the crc alone takes for intact, without lengths and types."""
    passed = 0
    for _ in range(bodies):
        passed += crc16(rng.bytes(24), SCHEMA.hash) == 0
    return passed / bodies


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS), help="which damage, a,b,c")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    start = time.perf_counter()
    kinds = given.kinds.split(",")
    for kind in kinds:
        count = given.streams // len(kinds)
        lost = undetected = 0
        for k in range(count):
            if k % 100 == 0:
                frames = sample_frames(rng)
            seen = survivors(*mutate(kind, frames, rng))
            lost, undetected = lost + seen.lost, undetected + seen.undetected
        print(
            f"{kind:10} {count:8} streams: {lost} intact frames lost, {undetected} damaged ones passed"
        )
    rate = random_rate(given.streams * 4, np.random.default_rng(given.seed))
    print(f"random bodies that pass the crc alone: {65536 * rate:.2f} in 65,536")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
