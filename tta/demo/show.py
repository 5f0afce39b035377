"""``tta demo``: the shipped model streams through a changing world, frozen and adapted side by side."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.demo.stream import DemoStream
from tta.errors import TtaError
from tta.records import Array, Frame, Prediction, Result
from tta.runtime.loop import advance
from tta.runtime.session import InferSession
from tta.runtime.stream import Model, Stream, prediction
from tta.terminal import Terminal

CHUNK = 50  # frames that the frozen model answers at a time
WINDOW = 200  # frames behind the running errors on the display
Watch = Callable[[Stream, Result, Prediction, Array], None]


@dataclass
class Tally:
    """Counts of one segment."""

    name: str
    frames: int = 0
    frozen: int = 0
    adapted: int = 0
    drifting: int = 0
    worst: float = 0.0
    layers: dict[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """The segment's figures, errors as fractions."""
        return {
            "name": self.name,
            "frames": self.frames,
            "frozen_error": self.frozen / max(1, self.frames),
            "adapted_error": self.adapted / max(1, self.frames),
            "share_in_drift": self.drifting / max(1, self.frames),
        }


def demo(
    adapter: str = "auto",
    seed: int = 0,
    frames: int = 2000,
    batch: int = 16,
    json_path: str | None = None,
    terminal: Terminal | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Run the demo, print its table and return its figures.

    Args:
        adapter: method that adapts, or ``auto``, as ``tta run``.
        seed: of the stream.
        frames: frames a segment.
        batch: frames an adaptation step.
        json_path: file for the figures.
        terminal: where to print.
        watch: told of every answer with the frozen model's; ``--out`` makes pictures of what it is told.
    """
    terminal = terminal or Terminal()
    if json_path and not Path(json_path).parent.is_dir():
        raise TtaError(f"cannot write {json_path}: there is no folder {Path(json_path).parent}")
    if json_path and Path(json_path).is_dir():
        raise TtaError(f"cannot write {json_path}: it is a folder")
    start = time.perf_counter()
    source = DemoStream(seed, frames)
    with as_file(files("tta.demo") / "fashion.tta") as folder:
        bundle = Bundle(folder)
        stream = Stream(Model(bundle), adapter, "demo", batch)
        tallies = [Tally(s.name) for s in source.segments]
        terminal.say(
            f"{bundle.manifest.name} on {source.frames} Fashion-MNIST test images a segment, "
            f"adapter {stream.adapter}, no labels used, no torch; live errors are of the last {WINDOW} frames"
        )
        _stream(stream, source, tallies, terminal, watch)
    seconds = time.perf_counter() - start
    report: dict[str, Any] = {
        "segments": [t.row() for t in tallies],
        "adapter": str(stream.adapter),
        "buffer": str(stream.buffer),
        "batch": batch,
        "seed": seed,
        "serve": "stream",
        "bundle": bundle.hash,
        "commits": stream.counts.commits,
        "resets": stream.counts.resets,
        "rollbacks": stream.counts.rollbacks,
        "seconds": seconds,
    }
    terminal.table(
        "Error on labelled test images (labels are used for this table only)",
        COLUMNS,
        _rows(tallies),
    )
    for tally in tallies:
        if tally.drifting > tally.frames / 2:
            top = sorted(tally.layers.items(), key=lambda item: -item[1])[:3]
            named = ", ".join(f"{layer} {score:.2f}" for layer, score in top)
            terminal.say(f"{tally.name}: layers that moved most (symmetric KL, nats): {named}")
    terminal.say(
        f"{stream.counts.commits} commits, {stream.counts.resets} returns to the source, "
        f"{stream.counts.rollbacks} rolled back, {len(source)} frames in {seconds:.1f} s"
    )
    if json_path:
        Path(json_path).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _stream(
    stream: Stream,
    source: DemoStream,
    tallies: list[Tally],
    terminal: Terminal,
    watch: Watch | None,
) -> None:
    recent: deque[tuple[bool, bool]] = deque(maxlen=WINDOW)
    names = [tally.name for tally in tallies]
    with terminal.progress(names, source.frames) as advance_bar, source:
        chunk: list[Frame] = []
        source_model = stream.model.source  # kept, since each chunk asks it
        for frame in source:
            chunk.append(frame)
            if len(chunk) < CHUNK and frame.seq + 1 < len(source):
                continue
            inputs, frozen = _frozen(stream, source_model, chunk)
            for each, x, answer in zip(chunk, inputs, frozen):
                tally = tallies[each.meta["segment"]]
                for result in advance(stream, each):
                    _count(tally, result, answer.label, recent)
                    if watch is not None:
                        watch(stream, result, answer, x)
            ours, theirs = (100 * float(np.mean([r[k] for r in recent])) for k in (1, 0))
            text = f"frozen {theirs:4.1f} %, adapted {ours:4.1f} %"
            advance_bar(chunk[-1].meta["segment"], len(chunk), text)
            chunk = []


def _frozen(
    stream: Stream, source: InferSession, frames: list[Frame]
) -> tuple[Array, list[Prediction]]:
    """Inputs ``(n, ...)``, and the source model's answers to them."""
    bundle = stream.model.bundle
    inputs = np.stack([x for f in frames if (x := stream.preprocess(f)) is not None])
    outputs = source.run(inputs)
    return inputs, [
        prediction(bundle, {k: v[i] for k, v in outputs.items()}, 0.0) for i in range(len(inputs))
    ]


def _count(tally: Tally, result: Result, frozen: int, recent: deque[tuple[bool, bool]]) -> None:
    label = result.frame.meta["label"]
    assert result.prediction is not None
    wrong = (frozen != label, result.prediction.label != label)
    recent.append(wrong)
    tally.frames += 1
    tally.frozen += wrong[0]
    tally.adapted += wrong[1]
    report = result.report
    tally.drifting += report.level == "drift"
    if report.decision is not None and report.level == "drift":
        score = report.scores.get("statistics_kl", 0.0)
        if score > tally.worst:
            tally.worst, tally.layers = score, dict(report.layers)


COLUMNS = ("segment", "frames", "frozen", "adapted", "gain (points)", "reported as drift")


def _rows(tallies: list[Tally]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for tally in tallies:
        row = tally.row()
        gain = 100 * (row["frozen_error"] - row["adapted_error"])
        rows.append(
            (
                tally.name,
                str(tally.frames),
                f"{100 * row['frozen_error']:.1f} %",
                f"{100 * row['adapted_error']:.1f} %",
                f"{gain:+.1f}",
                f"{100 * row['share_in_drift']:.0f} % of frames",
            )
        )
    return rows
