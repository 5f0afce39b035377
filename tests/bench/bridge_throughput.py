"""How fast the host decodes: ``python -m tests.bench.bridge_throughput``.

MB/s of wire bytes in processor time, from the port's chunks to float32 arrays of samples, by size of a
body and by what the samples look like: noise (few zero bytes), a sensor's (small int16 numbers), and
zeros alone, which is the worst for COBS.
"""

from __future__ import annotations

import time

import numpy as np

from tta.firmware_bridge.messages import Channel
from tta.firmware_bridge.protocol import OVERHEAD, Data, Decoder, Schema, frame, scaled

SCHEMA = Schema(tuple(Channel(name, "g", 1 / 2048, -16, 16) for name in "abcdef"), 0, 50_000)
CHUNK = 65536
TOTAL = 4_000_000
REPEATS = 7


def stream(body_bytes: int, look: str, rng: np.random.Generator) -> bytes:
    """About ``TOTAL`` bytes of DATA frames."""
    n = (body_bytes - OVERHEAD - 14) // 12
    frames = []
    for k in range(TOTAL // body_bytes):
        if look == "noise":
            samples = rng.integers(-32768, 32768, (n, 6)).astype("<i2")
        elif look == "sensor":
            samples = np.rint(rng.normal(0, 300, (n, 6))).astype("<i2")
        else:
            samples = np.zeros((n, 6), "<i2")
        frames.append(frame(Data(k * n, samples, 0x3F, 0, 0.5), k, k, SCHEMA.hash, host=False))
    return b"".join(frames)


def seconds(wire: bytes) -> float:
    """Time to decode it once, samples as float32 included."""
    decoder = Decoder()
    decoder.trust(SCHEMA)
    start = time.process_time()
    for at in range(0, len(wire), CHUNK):
        for received in decoder.feed(wire[at : at + CHUNK]):
            assert isinstance(received.message, Data)
            scaled(received.message)
    assert not decoder.bad
    return time.process_time() - start


def main() -> None:
    """Measure and print: best and median of several runs."""
    rng = np.random.default_rng(0)
    for body_bytes in (256, 512, 1024, 4096):
        for look in ("noise", "sensor", "zeros"):
            wire = stream(body_bytes, look, rng)
            times = sorted(seconds(wire) for _ in range(REPEATS))
            best, median = (len(wire) / 1e6 / t for t in (times[0], times[REPEATS // 2]))
            print(f"{body_bytes:5} bytes, {look:7}: {best:6.0f} MB/s best, {median:6.0f} median")


if __name__ == "__main__":
    main()
