"""Unplugs and replugs a device, by default a thousand times: ``python -m tests.bench.bridge_unplug``.

A device on a real pseudo terminal behind a link that, like /dev/serial/by-id, keeps its name. In turn:
the terminal is closed in the middle of whatever is on it and another takes its place while the device
goes on measuring; the device is reset in the middle of a frame; a NORM is pushed and its ACK is lost,
and every other time the terminal with it. Every reading is compared with what was measured, and the
counts of both sides with each other.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
import tty
from pathlib import Path

import numpy as np

from tta.firmware_bridge import normalization
from tta.firmware_bridge.bridge import Bridge
from tta.firmware_bridge.emulated import EmulatedDevice
from tta.firmware_bridge.framing import decode, encode
from tta.firmware_bridge.messages import ACK, Channel, Norm
from tta.firmware_bridge.protocol import Schema
from tta.firmware_bridge.session import Samples

SCHEMA = Schema(tuple(Channel(n, "g", 1 / 2048, -16, 16) for n in "abc"), 0, 50_000)
PUSHED = 25  # samples a turn


def truth(life: int, k: np.ndarray) -> np.ndarray:
    """What the sensor measured: another signal in each life, so that lives cannot be confused."""
    wave = [(k * 7 + life * 131) % 4001 - 2000, (k * 13 + life) % 977, 500 + (k + life) % 100]
    return np.stack(wave, 1).astype("<i2")


class Harness:
    """One host, one device, and the hand that pulls the plug."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.port = folder / "port"
        self.device = EmulatedDevice(SCHEMA, window=10, ring=150)
        self.life, self.count = 0, 0
        self.lives: list[int] = [0]
        self.pending = b""
        self.drop_acks = 0
        self.ends: tuple[int, int] | None = None
        self.checked = self.switches = self.acks_lost = self.compared = 0
        self.last: tuple[int, int] = (0, -1)
        self.epoch, self.next_epoch = 0, 0
        self.plug()
        self.device.start(time.monotonic())
        self.bridge = Bridge(str(self.port), back_off_s=(0.001,), read_s=0.001)
        self.bridge.__enter__()
        self.events = self.bridge.events()

    def plug(self) -> None:
        """Another terminal in place of the one before, whatever was on it is gone."""
        if self.ends:
            for end in self.ends:
                os.close(end)
        line, device = os.openpty()
        tty.setraw(device)
        os.set_blocking(line, False)
        self.ends = line, device
        new = self.port.with_suffix(".new")
        new.symlink_to(os.ttyname(device))
        os.replace(new, self.port)
        self.pending = b""

    def turn(self, samples: int = PUSHED) -> None:
        """The device measures and talks; the host listens, once."""
        for row in truth(self.life, np.arange(self.count, self.count + samples)):
            self.device.push(row)
        self.count += samples
        assert self.ends
        try:
            received = os.read(self.ends[0], 65536)
        except (BlockingIOError, OSError):
            received = b""
        self.pending += self._filter(self.device.poll(received, time.monotonic()))
        try:
            cut = self.rng.randrange(1, 400)
            self.pending = self.pending[os.write(self.ends[0], self.pending[:cut]) :]
        except (BlockingIOError, OSError):
            pass
        for _ in range(3):
            event = next(self.events)
            if isinstance(event, Samples):
                self._check(event)

    def _filter(self, out: bytes) -> bytes:
        if not self.drop_acks:
            return out
        bodies = decode(out or b"\0")
        kept = []
        for begin, end in zip(bodies.bounds, bodies.bounds[1:]):
            body = bodies.data[begin:end]
            if body[1] == ACK and self.drop_acks:
                self.drop_acks -= 1
                self.acks_lost += 1
                continue
            kept.append(encode(body))
        return b"".join(kept)

    def _check(self, event: Samples) -> None:
        if event.restarted:
            # Of the lives since, the one that it is from is the one whose signal it is.
            self.last = (self.life, -1)
        life, before = self.last
        assert event.first > before, "out of order"
        last = event.first + len(event.values) - 1
        self.last = (life, last)
        k = np.arange(event.first, last + 1)
        expected = truth(life, k) / 2048
        step = normalization.finest(self.bridge.session.norms[event.epoch], SCHEMA)
        error = np.abs(event.values - expected)
        assert (error <= step * 1.001 + 1e-6).all(), (
            f"not what was measured: {error.max(0)} > {step}"
        )
        self.switches += event.epoch != self.epoch
        self.epoch = event.epoch
        self.checked += len(k)

    def settle(self) -> None:
        """Let the host catch up with a device that hardly measures, and compare the counts."""
        end_s = time.monotonic() + 10
        session, device = self.bridge.session, self.device
        tally = session.tally
        turns = 0
        while time.monotonic() < end_s:
            # Which samples were in a lost frame shows with the next samples only: measure a few.
            turns += 1
            self.turn(10 if turns % 40 == 0 else 0)
            old = session.before
            frames = tally.frames + tally.lost_frames - old.frames - old.lost_frames
            samples = tally.samples + tally.lost_samples - old.samples - old.lost_samples
            idle = not self.pending and session.greeted and not self.drop_acks
            held = device.taken - samples
            if idle and frames == device.sent and 0 <= held < 10:
                break
        else:
            raise AssertionError(
                f"counts differ: {tally}, {session.before}, greeted {session.greeted}; sent {device.sent}, "
                f"taken {device.taken}, credit {device._credit}, data sent {device._data_sent}"
            )
        # samples that the device dropped are among those that the host missed
        assert tally.lost_samples - old.lost_samples >= device.overruns
        self.compared += 1

    def reset(self) -> None:
        """The button, in the middle of a frame."""
        self.settle()
        for _ in range(2):
            self.turn()
        self.pending = self.pending[: self.rng.randrange(0, 60)]
        self.life += 1
        self.count = 0
        self.epoch = 0
        self.device.start(time.monotonic())
        restarts = self.bridge.session.tally.restarts
        end_s = time.monotonic() + 10
        tally = self.bridge.session.tally
        while tally.restarts == restarts:
            assert time.monotonic() < end_s, "the restart went unnoticed"
            self.turn(1)

    def norm(self, unplug: bool) -> None:
        """Push a NORM, lose its ACK, and perhaps the terminal."""
        session = self.bridge.session
        epoch = session.free_epoch()
        mean = np.array([self.rng.uniform(-0.5, 0.5) for _ in range(3)])
        std = np.array([self.rng.uniform(0.2, 1.0) for _ in range(3)])
        made = normalization.make(epoch, mean, std, SCHEMA) if self.rng.random() < 0.8 else Norm(0)
        self.drop_acks = 1
        command = session.normalize(made)
        end_s = time.monotonic() + 10
        turns = 0
        while not command.over.is_set():
            assert time.monotonic() < end_s, "the command never ended"
            self.turn(5)
            turns += 1
            if unplug and turns == 4:
                self.plug()
        assert (
            command.ack is not None
            and command.ack.code == 0
            and command.ack.norm_epoch == made.epoch
        )
        self.drop_acks = 0

    def close(self) -> None:
        """Let go."""
        self.bridge.close()
        assert self.ends
        for end in self.ends:
            os.close(end)


def run(cycles: int, seed: int = 0) -> dict[str, float]:
    """So many interruptions; raises AssertionError where something is not as it must be."""
    begin_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(Path(folder), seed)
        for _ in range(30):
            harness.turn()
        for k in range(cycles):
            for _ in range(harness.rng.randrange(3, 12)):
                harness.turn()
            if k % 3 == 0:
                for _ in range(harness.rng.randrange(4)):  # goes on measuring meanwhile
                    harness.device.poll(b"", time.monotonic())
                harness.plug()
            elif k % 3 == 1:
                harness.reset()
            else:
                harness.norm(unplug=k % 2 == 0)
        harness.settle()
        tally = harness.bridge.session.tally
        found = {
            "interruptions": cycles,
            "reconnections": harness.bridge.reconnects,
            "restarts": tally.restarts,
            "norm_switches": harness.switches,
            "acks_lost": harness.acks_lost,
            "commands_repeated": tally.retries,
            "samples_checked": harness.checked,
            "samples_lost": tally.lost_samples,
            "frames_lost": tally.lost_frames,
            "counts_compared": harness.compared,
            "seconds": time.monotonic() - begin_s,
        }
        harness.close()
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for name, value in run(given.cycles, given.seed).items():
        print(f"{name:18} {value:g}")


if __name__ == "__main__":
    main()
