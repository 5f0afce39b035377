"""What a side-by-side run leaves: one row an answer, the segments of the stream, and what ran.

``write_rows`` makes the JSON lines for machines; ``tta.evaluation.summary`` makes the figures and
``tta.evaluation.timeline`` the pictures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tta.records import Array

Measure = Literal["error", "disagreement", "doubt"]
FINDS = ("level", "detected")  # events that say that something changed
ALARMS = ("level", "alarm")  # events that call for a person


@dataclass(frozen=True, slots=True)
class Row:
    """One answer of both models: to a frame, or to the window that a frame completed.

    Attributes:
        seq: sequence number of the frame in its source.
        t_s: time of the frame in s.
        segment: index of the stretch of the stream that it belongs to.
        shift: what the world does at this frame, ``clean`` where it does nothing.
        severity: how harshly, 0 where clean.
        label: true class, None where the source does not know it.
        clean: what the frozen model answers to the same frame before its shift, None where unknown.
        frozen: class that the frozen model answers.
        adapted: class that the adapted stream answers.
        frozen_confidence: probability that the frozen model gives its class.
        adapted_confidence: likewise of the adapted stream.
        level: ``ok``, ``warn`` or ``drift``.
        scores: drift scores by name.
        layers: per-layer scores, at frames with a batch behind them; else empty.
        event: ``detected``, ``recall``, ``learn`` or ``alarm`` where the watch over the scores said so;
            ``level`` where there is no watch and the level became ``drift``; else empty.
        detail: all that was said with the event: kind, metrics, estimated error, ...
        action: what the governor did, empty between steps.
        reason: why.
    """

    seq: int
    t_s: float
    segment: int
    shift: str
    severity: float
    label: int | None
    clean: int | None
    frozen: int
    adapted: int
    frozen_confidence: float
    adapted_confidence: float
    level: str
    scores: Mapping[str, float] = field(default_factory=dict)
    layers: Mapping[str, float] = field(default_factory=dict)
    event: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    action: str = ""
    reason: str = ""

    def losses(self, measure: Measure) -> tuple[float, float]:
        """What the frozen and the adapted answer cost under a measure; nan where it says nothing.

        ``error``: 1 where the answer is not the label. ``disagreement``: 1 where it is not the frozen model's
        answer to the clean frame. ``doubt``: 1 - confidence.
        """
        if measure == "doubt":
            return 1 - self.frozen_confidence, 1 - self.adapted_confidence
        truth = self.label if measure == "error" else self.clean
        if truth is None:
            return math.nan, math.nan
        return float(self.frozen != truth), float(self.adapted != truth)


@dataclass(slots=True)
class Segment:
    """A stretch of the stream between two changes of the world.

    Attributes:
        name: what the world does, ``clean`` where it does nothing, ``mixed`` where frames differ.
        severity: how harshly at most, 0 where clean.
        start: number of its first row.
        stop: number of the row behind its last.
        grows: whether the severity changes within.
        before: a frame of it as it was before the shift; None where the source does not tell.
        after: the same frame as the model sees it.
    """

    name: str
    severity: float
    start: int
    stop: int
    grows: bool = False
    before: Array | None = None
    after: Array | None = None

    def take(self, shift: str, severity: float) -> None:
        """Count in one more row."""
        self.stop += 1
        if severity and self.severity:
            self.name = self.name if shift == self.name else "mixed"
            self.grows |= severity != self.severity
        elif severity:
            self.name, self.grows = shift, self.stop - self.start > 1
        self.severity = max(self.severity, severity)

    @property
    def clean(self) -> bool:
        """Whether the world is as the source knows it."""
        return self.severity == 0

    @property
    def title(self) -> str:
        """Name and severity."""
        name = self.name.replace("_", " ")
        if self.clean:
            return name
        return f"{name}, up to {self.severity:.2g}" if self.grows else f"{name} {self.severity:g}"


@dataclass(slots=True)
class Recording:
    """A whole run.

    Attributes:
        about: what ran: bundle, source, adapter, batch, governor, seed.
        rows: every answer, in order.
        segments: stretches of the stream, in order.
        thresholds: by score, the value above which it means drift.
        layers: layers in graph order.
        counts: commits, holds, resets, rollbacks, skipped frames.
    """

    about: dict[str, Any]
    rows: list[Row]
    segments: list[Segment]
    thresholds: dict[str, float] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """What a row is an answer to: ``frame`` or ``window``."""
        return str(self.about.get("unit", "frame"))

    @property
    def measure(self) -> Measure:
        """The best measure that the rows allow: labels, else the clean answers, else confidence alone."""
        if any(row.label is not None for row in self.rows):
            return "error"
        if any(row.clean is not None for row in self.rows):
            return "disagreement"
        return "doubt"


def write_rows(path: Path, recording: Recording) -> None:
    """One JSON object a row; numbers that are not finite are null."""
    with path.open("w", encoding="utf-8") as file:
        for row in recording.rows:
            file.write(json.dumps(_line(row), allow_nan=False, ensure_ascii=False) + "\n")


def _line(row: Row) -> dict[str, Any]:
    line: dict[str, Any] = {
        "seq": row.seq,
        "t_s": row.t_s,
        "segment": row.segment,
        "shift": row.shift,
        "severity": row.severity,
        "label": row.label,
        "clean": row.clean,
        "frozen": row.frozen,
        "adapted": row.adapted,
        "frozen_confidence": finite(row.frozen_confidence),
        "adapted_confidence": finite(row.adapted_confidence),
        "level": row.level,
        "scores": {k: finite(v) for k, v in row.scores.items()},
    }
    if row.layers:
        line["layers"] = {k: finite(v) for k, v in row.layers.items()}
    if row.event:
        line["event"] = row.event
        line["detail"] = plain(row.detail)
    if row.action:
        line["decision"] = {"action": row.action, "reason": row.reason}
    return line


def finite(value: float, digits: int = 6) -> float | None:
    """The value to so many significant digits, None where it is no finite number.

    >>> finite(1 / 3, 3), finite(float("nan"))
    (0.333, None)
    """
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def plain(value: Any) -> Any:
    """A value in JSON's types; numbers that are not finite are None."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return finite(value) if isinstance(value, float) else value


def mean(values: Iterable[float]) -> float:
    """Mean of the finite values, nan where there is none.

    >>> mean([1.0, float("nan"), 2.0])
    1.5
    """
    kept = [v for v in values if math.isfinite(v)]
    return sum(kept) / len(kept) if kept else math.nan


__all__ = [
    "ALARMS",
    "FINDS",
    "Measure",
    "Recording",
    "Row",
    "Segment",
    "finite",
    "mean",
    "plain",
    "write_rows",
]
