"""``tta demo --sensor``: a board without hardware streams a watch whose sensor is knocked out of place."""

from __future__ import annotations

import json
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.errors import TtaError
from tta.firmware_bridge import boards, normalization
from tta.firmware_bridge.messages import Channel, Norm, Schema
from tta.records import Array, Frame
from tta.runtime.loop import advance
from tta.runtime.sources.serial_ import Serial
from tta.runtime.stream import Model, Stream
from tta.terminal import Terminal

NAMES = ("ax", "ay", "az", "wx", "wy", "wz")
FASTER = 20  # than the watch's 50 Hz, so that seven minutes take twenty seconds
MOVED_AT = 8000  # sample at which the sensor is knocked
MOVED_BY = (1.0, -0.8, 0.6, 0.0, 0.0, 0.0)  # deviations of the training data
HORIZON = 3000
COLUMNS = ("segment", "windows", "frozen", "corrected", "norm epochs")


def replay(seed: int = 0, faster: int = FASTER) -> tuple[Schema, Array, Array]:
    """Schema, samples ``(n, 6)`` int16 and labels ``(n,)``; the later part with the sensor moved."""
    with np.load(str(files("tta.demo") / "watch_excerpt.npz")) as data:
        samples, labels, steps = data["samples"].astype(np.int64), data["labels"], data["steps"]
    if seed:  # bouts of six seconds in another order
        order = np.random.default_rng(seed).permutation(len(labels) // 300)
        samples = samples.reshape(-1, 300, 6)[order].reshape(-1, 6)
        labels = labels.reshape(-1, 300)[order].reshape(-1)
    with as_file(files("tta.demo") / "watch.tta") as folder:
        std = np.array(Bundle(folder).manifest.preprocess["std"])
    samples[MOVED_AT:] += np.rint(np.array(MOVED_BY) * std / steps).astype(np.int64)
    channels = tuple(
        Channel(name, "g" if name[0] == "a" else "rad/s", float(np.float32(step)), -4, 4)
        for name, step in zip(NAMES, steps)
    )
    schema = Schema(channels, 0, 50_000 * faster)
    return schema, np.clip(samples, -32768, 32767).astype(np.int16), labels


def choose(kind: str | None) -> tuple[str, str]:
    """A board that this machine can run, and a clause that says why it is not a closer one."""
    if kind is not None:
        if kind not in ("mps2", "posix", "python"):
            raise TtaError(f"--board is mps2, posix or python, but is {kind!r}")
        return kind, ""
    lacking = boards.missing("mps2")
    if not lacking:
        return "mps2", ""
    return "python", f" (no {' and no '.join(lacking)} here: the firmware's twin in Python instead)"


def demo(
    adapter: str = "nhl",
    seed: int = 0,
    kind: str | None = None,
    json_path: str | None = None,
    terminal: Terminal | None = None,
    faster: int = FASTER,
) -> dict[str, Any]:
    """Run the demo, print its table and return its figures.

    Args:
        adapter: method that adapts besides.
        seed: of the order of the bouts.
        kind: of the board; by default a Cortex-M3 in QEMU, else Python.
        json_path: file for the figures.
        terminal: where to print.
        faster: than the watch.
    """
    terminal = terminal or Terminal()
    if json_path and not Path(json_path).resolve().parent.is_dir():
        raise TtaError(f"cannot write {json_path}: there is no folder {Path(json_path).parent}")
    kind, why = choose(kind)
    what = {"mps2": "a Cortex-M3 in QEMU", "posix": "a program", "python": "Python"}[kind]
    schema, samples, labels = replay(seed, faster)
    terminal.say(
        f"Board: {what}{why}; {len(labels)} readings of a watch at {faster} times their rate, UART on a "
        f"pseudo terminal; at sample {MOVED_AT} its accelerometer is knocked out of place"
    )
    start_s = time.perf_counter()
    with (
        as_file(files("tta.demo") / "watch.tta") as folder,
        boards.board(kind, schema, samples) as board,
        Serial(board.port, codec="cobs", correct="device", horizon=HORIZON) as source,
    ):
        model = Model(Bundle(folder))
        corrected = Stream(model, adapter, "corrected", buffer="batch")
        run = _Run(corrected, Stream(model, "none", "frozen"), labels)
        source.attach(run.corrected)
        for frame in source:
            if frame.meta["first"] + frame.data.shape[1] > len(labels):
                break
            run.take(frame)
            if run.frames % 100 == 0:
                run.say(terminal, frame)
        report = run.report(source, schema, time.perf_counter() - start_s)
    report |= {"board": kind, "seed": seed, "adapter": adapter}
    terminal.table(
        "Error in % of windows (labels are used for this table only)", COLUMNS, run.rows()
    )
    terminal.say(report["summary"])
    if json_path:
        Path(json_path).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


class _Run:
    """Both streams over the same frames, and what they got wrong."""

    def __init__(self, corrected: Stream, frozen: Stream, labels: Array) -> None:
        self.corrected, self.frozen, self._labels = corrected, frozen, labels
        self.frames = 0
        self._since: int | None = None  # the first sample that was answered with a correction
        self._wrong: list[tuple[int, bool, bool, int]] = []

    def take(self, frame: Frame) -> None:
        """One frame through both."""
        self.frames += 1
        pair = [list(advance(stream, frame)) for stream in (self.frozen, self.corrected)]
        first = frame.meta["first"]
        norm: Any = self.corrected.preprocess
        if self._since is None and norm.correction is not None and first >= MOVED_AT:
            self._since = first
        for old, new in zip(*pair):
            if old.prediction is not None and new.prediction is not None:
                label = int(self._labels[first])
                self._wrong.append(
                    (
                        first,
                        old.prediction.label != label,
                        new.prediction.label != label,
                        frame.meta["norm_epoch"],
                    )
                )

    def say(self, terminal: Terminal, frame: Frame) -> None:
        """A line of where we are."""
        last = self._wrong[-40:] or [(0, False, False, 0)]
        old, new = (100 * float(np.mean([w[k] for w in last])) for k in (1, 2))
        terminal.say(
            f"sample {frame.meta['first']:6}, norm epoch {frame.meta['norm_epoch']}: error of the last "
            f"{len(last)} windows frozen {old:4.1f} %, corrected {new:4.1f} %"
        )

    def segments(self) -> list[tuple[str, list[tuple[int, bool, bool, int]]]]:
        """Windows before the knock, until it was corrected, and after."""
        since = self._since if self._since is not None else 1 << 62
        return [
            ("as trained", [w for w in self._wrong if w[0] < MOVED_AT]),
            ("knocked, not yet corrected", [w for w in self._wrong if MOVED_AT <= w[0] < since]),
            ("knocked, corrected", [w for w in self._wrong if w[0] >= since]),
        ]

    def rows(self) -> list[list[str]]:
        """The table."""
        return [
            [
                name,
                str(len(part)),
                *(f"{100 * np.mean([w[k] for w in part]):.1f}" for k in (1, 2)),
                ", ".join(map(str, sorted({w[3] for w in part}))),
            ]
            for name, part in self.segments()
            if part
        ]

    def report(self, source: Serial, schema: Schema, seconds: float) -> dict[str, Any]:
        """The figures."""
        assert source.bridge is not None
        session = source.bridge.session
        pushed, tally = source.pushed, session.tally
        answer = "no NORM was pushed"
        if pushed is not None:
            ack = pushed.ack
            done = pushed.failure or pushed.refused or "done"
            answer = f"NORM: {done}" + (f", from sample {ack.first}" if ack else "")
        finest = normalization.finest(session.norms.get(1, Norm(0)), schema)
        return {
            "segments": [
                {
                    "name": name,
                    "windows": len(part),
                    "frozen_error": float(np.mean([w[1] for w in part])),
                    "corrected_error": float(np.mean([w[2] for w in part])),
                }
                for name, part in self.segments()
                if part
            ],
            "norm": answer,
            "quantisation_step": finest.tolist(),
            "frames": tally.frames,
            "lost_frames": tally.lost_frames,
            "lost_samples": tally.lost_samples,
            "seconds": seconds,
            "summary": f"{answer}; {tally.frames} frames, {tally.lost_frames} lost, {tally.lost_samples} "
            f"samples lost, clock drift {session.clock.drift_ppm:+.0f} ppm, in {seconds:.0f} s",
        }
