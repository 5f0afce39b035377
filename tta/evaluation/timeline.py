"""What the timeline shows, in numbers: the one view from which the PNG and the HTML page are drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tta.evaluation.record import Measure, Recording, Segment
from tta.evaluation.summary import SegmentFigures, Summary, percent
from tta.records import Array

POINTS = 480  # along a score's line
COLUMNS = 240  # of the heat map, at most
PANELS = 8  # scores that are drawn
PICTURES = 9  # segments that are shown as pictures
ACTIONS = ("commit", "hold", "reset", "rollback")
ESTIMATE = "estimated_error"  # the score that estimates the frozen model's error without labels
TITLES: dict[Measure, str] = {
    "error": "Error",
    "disagreement": "Disagreement with the clean answer",
    "doubt": "1 - mean confidence (an estimate: the data have no labels)",
}


@dataclass(frozen=True, slots=True)
class Bins:
    """A loss averaged over windows that lie within a segment: one entry a window."""

    x: Array
    frozen: Array
    adapted: Array
    segment: Array


@dataclass(frozen=True, slots=True)
class Score:
    """One drift score; ``ratio``: ``y`` is in units of its threshold, to be drawn from 0.1 to 100."""

    name: str
    x: Array
    y: Array
    ratio: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One event: where, what, answers since the change that it found (None where it found none), its kind."""

    at: int
    what: str
    delay: int | None
    kind: str


@dataclass(frozen=True, slots=True)
class Heat:
    """Layer scores over time: ``values (layers, columns)``, ``edges (columns + 1)`` in rows."""

    layers: tuple[str, ...]
    edges: Array
    values: Array


@dataclass(frozen=True, slots=True)
class Timeline:
    """All that is drawn; places along the stream are row numbers."""

    title: str
    verdict: str
    length: int
    measure: Measure
    window: int
    segments: tuple[Segment, ...]
    figures: tuple[SegmentFigures, ...]
    ticks: tuple[tuple[int, str], ...]
    axis: str
    bins: Bins
    scores: tuple[Score, ...]
    hidden_scores: tuple[str, ...]
    estimate: Score | None
    events: tuple[Event, ...]
    decisions: dict[str, Array]
    heat: Heat | None

    @property
    def shown(self) -> tuple[int, ...]:
        """Indices of the segments to show as pictures: no two alike, the first of each kind."""
        titles: dict[str, int] = {}
        for k, segment in enumerate(self.segments):
            if segment.after is not None:
                titles.setdefault(segment.title, k)
        chosen = sorted(titles.values())
        if len(chosen) <= PICTURES:
            return tuple(chosen)
        keep = np.linspace(0, len(chosen) - 1, PICTURES).round().astype(int)
        return tuple(chosen[k] for k in keep)


def timeline(recording: Recording, summary: Summary, window: int | None = None) -> Timeline:
    """The view of a run.

    Args:
        recording: the run.
        summary: its figures.
        window: frames behind each point of the loss curve; default a hundredth of the run, at least 20.
    """
    n = len(recording.rows)
    window = window or max(20, n // 100)
    every = _scores(recording)
    scores = [score for score in every if score.name != ESTIMATE]
    ticks, axis = _ticks(recording)
    return Timeline(
        title=f"{recording.about['model']}: frozen against {recording.about.get('adapter', 'adapted')}",
        verdict=verdict(summary),
        length=n,
        measure=summary.measure,
        window=window,
        segments=tuple(recording.segments),
        figures=summary.segments,
        ticks=ticks,
        axis=axis,
        bins=_bins(recording, summary.measure, window),
        scores=tuple(scores[:PANELS]),
        hidden_scores=tuple(score.name for score in scores[PANELS:]),
        estimate=next((s for s in every if s.name == ESTIMATE), None),
        events=_events(recording, summary),
        decisions={
            action: np.array([k for k, row in enumerate(recording.rows) if row.action == action])
            for action in ACTIONS
        },
        heat=_heat(recording),
    )


def verdict(summary: Summary) -> str:
    """The run in two or three sentences, the bad news as plain as the good."""
    what = {
        "error": "is wrong on {} of {}",
        "disagreement": "departs from its own clean answer on {} of {}",
        "doubt": "doubts its answers by {} over {}",
    }[summary.measure]
    frames = sum(f.frames for f in summary.segments)
    frozen = what.format(percent(summary.frozen), _count(frames, summary.unit))
    said = f"The frozen model {frozen}, the adapted one "
    said += "by " if summary.measure == "doubt" else "on "
    gain = summary.gain
    text = f"{said}{percent(summary.adapted)}: {abs(100 * gain.mean):.1f} points "
    text += "fewer" if gain.mean >= 0 else "more"
    if gain.low is not None and gain.high is not None:
        text += f" (95 % interval of the gain {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    text += "."
    better = [f for f in summary.segments if f.gain.sign > 0]
    worse = [f for f in summary.segments if f.gain.sign < 0]
    if summary.measure != "doubt":
        text += (
            f" Adaptation helps in {len(better)} of {_count(len(summary.segments), 'segment')} and hurts in "
            f"{len(worse)}"
        )
        text += f" ({_named(worse)})." if worse else "."
    return f"{text} {_detection(summary)}".rstrip()


def _detection(summary: Summary) -> str:
    """What the detectors made of the changes, and of the clean world."""
    text = ""
    if summary.changes:
        missed = summary.changes - summary.found - summary.by_level - summary.standing
        was = "was" if summary.found == 1 else "were"
        text = (
            f"Of {_count(summary.changes, 'change')} to a shifted world {summary.found} {was} found"
        )
        delay = summary.median_delay
        text += f" (median delay {delay:g} {summary.unit}s)" if delay is not None else ""
        if summary.by_level:
            text += f", {summary.by_level} shown by the level alone"
        if summary.standing:
            text += f", {summary.standing} came while drift was still reported"
        text += f", {missed} went unseen." if missed else "."
    if summary.clean_frames:
        alarms = _count(summary.false_alarms, "false alarm")
        text += f" {alarms} in {summary.clean_frames:,} clean {summary.unit}s."
    return text


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _named(figures: Sequence[SegmentFigures]) -> str:
    return ", ".join(dict.fromkeys(f.title for f in figures))


def _bins(recording: Recording, measure: Measure, window: int) -> Bins:
    x, frozen, adapted, segment = [], [], [], []
    for number, each in enumerate(recording.segments):
        count = max(1, round((each.stop - each.start) / window))
        edges = np.linspace(each.start, each.stop, count + 1).round().astype(int)
        for start, stop in pairwise(edges):
            losses = np.array([r.losses(measure) for r in recording.rows[start:stop]], np.float64)
            known = losses[np.isfinite(losses).all(1)]
            if len(known):
                x.append((start + stop) / 2)
                frozen.append(known[:, 0].mean())
                adapted.append(known[:, 1].mean())
                segment.append(number)
    return Bins(np.array(x), np.array(frozen), np.array(adapted), np.array(segment))


def _scores(recording: Recording) -> list[Score]:
    """Every score that has a finite value, those with a threshold first."""
    rows = recording.rows
    names = list(dict.fromkeys(name for row in rows for name in row.scores))
    picked = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), POINTS)).round().astype(int))
    found = []
    for name in names:
        y = np.array([rows[k].scores.get(name, math.nan) for k in picked], np.float64)
        known = np.isfinite(y)
        if not known.any():
            continue
        limit = recording.thresholds.get(name)
        ratio = limit is not None and limit > 0
        unit = limit if limit is not None and limit > 0 else 1.0
        found.append(Score(name, picked[known], y[known] / unit, ratio))
    return sorted(found, key=lambda score: not score.ratio)


def _events(recording: Recording, summary: Summary) -> tuple[Event, ...]:
    """Events with their delays: the first find behind a change has one, all others have none."""
    found = []
    for figures in summary.segments:
        for k in range(figures.start, figures.start + figures.frames):
            row = recording.rows[k]
            if row.event:
                first = figures.delay == k - figures.start
                kind = str(row.detail.get("kind", ""))
                found.append(Event(k, row.event, figures.delay if first else None, kind))
    return tuple(found)


def _heat(recording: Recording) -> Heat | None:
    stamped = [k for k, row in enumerate(recording.rows) if row.layers]
    layers = tuple(
        n for n in recording.layers if any(n in recording.rows[k].layers for k in stamped)
    )
    if not stamped or not layers:
        return None
    n = len(recording.rows)
    columns = min(COLUMNS, len(stamped))
    edges = np.linspace(0, n, columns + 1)
    values = np.full((len(layers), columns), np.nan)
    place = np.minimum((np.array(stamped) / n * columns).astype(int), columns - 1)
    for column in range(columns):
        own = [recording.rows[stamped[k]].layers for k in np.flatnonzero(place == column)]
        for row, layer in enumerate(layers):
            seen = [v for each in own if math.isfinite(v := each.get(layer, math.nan))]
            if seen:
                values[row, column] = sum(seen) / len(seen)
            elif column:
                values[row, column] = values[row, column - 1]
    return Heat(layers, edges, values)


def _ticks(recording: Recording) -> tuple[tuple[tuple[int, str], ...], str]:
    """Round places along the stream: hours where it spans more than two, else frames."""
    rows = recording.rows
    times = np.array([row.t_s for row in rows])
    hours = (times[-1] - times[0]) / 3600
    if hours > 2:
        step = next(s for s in (1, 2, 3, 6, 12, 24, 48, 168, 8760) if hours / s <= 9)
        first = math.ceil(times[0] / 3600 / step) * step
        marks = np.arange(first, times[-1] / 3600 + 1e-9, step)
        return tuple((int(np.searchsorted(times, m * 3600)), f"{m:g}") for m in marks), "hours"
    step = round_step(len(rows) / 6)
    return tuple((k, f"{k:,}") for k in range(0, len(rows) + 1, step)), recording.unit


def round_step(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, ... that is no less.

    >>> [round_step(x) for x in (0.3, 3, 130, 501)]
    [1, 5, 200, 1000]
    """
    power = 10 ** max(0, math.floor(math.log10(max(least, 1))))
    return next(int(power * f) for f in (1, 2, 5, 10) if power * f >= least)


__all__ = [
    "ACTIONS",
    "TITLES",
    "Bins",
    "Event",
    "Heat",
    "Score",
    "Timeline",
    "round_step",
    "timeline",
    "verdict",
]
