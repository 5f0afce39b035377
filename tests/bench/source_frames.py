"""Frames with what the frozen model says of them, and streams of them: what the drift benches share."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.export.drift_calibration import Frames, look_at
from tta.monitor import Monitor
from tta.records import Frame, Prediction, Shift
from tta.runtime.preprocess import build
from tta.runtime.stream import Model
from tta.watch import AlarmPolicy

BATCH = 16


@dataclass
class Known:
    """Preprocessed frames and the frozen model's answers to each of them."""

    frames: Frames
    answers: list[Prediction]
    inputs: np.ndarray
    wrong: np.ndarray  # of the labels, empty without them

    def __len__(self) -> int:
        return len(self.answers)


@dataclass
class Run:
    """What a monitor said of a stream."""

    frames: int
    shifts: list[Shift] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def count(self, *verdicts: str) -> int:
        return sum(s.verdict in verdicts for s in self.shifts)

    @property
    def announced(self) -> int:
        """Detections that did not turn out to be the source itself."""
        return sum(s.verdict != "detected" and s.domain != 0 for s in self.shifts)


class Bench:
    """A bundle and its frozen model."""

    def __init__(self, path: Path | str | None = None) -> None:
        self.bundle = Bundle(path or str(files("tta.demo") / "fashion.tta"))
        self.model = Model(self.bundle)
        manifest = self.bundle.manifest
        self._preprocess = build(manifest.preprocess, manifest.input)

    def know(self, images: np.ndarray, labels: np.ndarray | None = None) -> Known:
        """The frozen model's answers to images, as a camera delivers them."""
        inputs = np.stack([self._preprocess(Frame(x, 0.0, k)) for k, x in enumerate(images)])
        frames = look_at(self.bundle, self.model.adapting, inputs)
        v = frames.view
        outputs = [{"features": f} for f in v.features]
        if not v.probabilities.shape[1]:
            for each, y in zip(outputs, v.output):
                each[self.bundle.manifest.primary] = y
        answers = [
            Prediction(o, p, float(e), 0.0, "")
            for o, p, e in zip(outputs, v.probabilities, v.entropy)
        ]
        found = v.probabilities.argmax(1) if v.probabilities.size else np.zeros(len(inputs))
        wrong = np.zeros(0) if labels is None else found != labels
        return Known(frames, answers, inputs, wrong)

    def monitor(self, policy: AlarmPolicy, metrics: list[str] | None = None) -> Monitor:
        return Monitor(self.bundle.manifest, self.model.calibration, metrics, BATCH, policy)


def watch(monitor: Monitor, known: Known, order: np.ndarray, run: Run | None = None) -> Run:
    """Show a monitor the frames in that order, and every batch of them; what it said."""
    run = run or Run(0)
    answers, inputs, frames = known.answers, known.inputs, known.frames
    for begin in range(0, len(order) - BATCH + 1, BATCH):
        chosen = order[begin : begin + BATCH]
        for k in chosen:
            monitor.observe(answers[k], inputs[k])
        monitor.observe_step(frames.batch(chosen))
        report = monitor.report()
        if report.shift is not None:
            run.shifts.append(report.shift)
    run.frames += len(order)
    run.notes = list(monitor.watch.notes)
    return run


def held(n: int, length: int, rho: float, rng: np.random.Generator) -> np.ndarray:
    """Frame numbers of which each is held with probability ρ: every score has autocorrelation ρᵏ."""
    new = rng.random(length) >= rho
    new[0] = True
    return rng.integers(0, n, int(new.sum()))[np.cumsum(new) - 1]


def autoregressive(
    score: np.ndarray, length: int, rho: float, rng: np.random.Generator
) -> np.ndarray:
    """Frame numbers chosen by a Gaussian AR(1) process through the ranks of a score of the frames."""
    z = np.empty(length)
    noise = rng.standard_normal(length) * np.sqrt(1 - rho**2)
    value = rng.standard_normal()
    for k in range(length):
        value = rho * value + noise[k]
        z[k] = value
    ranks = np.argsort(np.argsort(z))  # exactly uniform, as frames are drawn
    return np.argsort(score, kind="stable")[ranks * len(score) // length]


def table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """A plain text table."""
    cells = [columns] + [[_cell(r.get(c, "")) for c in columns] for r in rows]
    wide = [max(len(row[k]) for row in cells) for k in range(len(columns))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, wide)).rstrip() for row in cells)


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
