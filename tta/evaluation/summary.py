"""The figures of a side-by-side run: by segment what each model costs, what was found and how soon."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tta.evaluation.interval import Interval, block_of, interval, pooled
from tta.evaluation.record import ALARMS, FINDS, Measure, Recording, Row, Segment, mean, plain

STANDING = 16
MEANING: dict[Measure, str] = {
    "error": "share of wrong answers, against labels (which the models never see)",
    "disagreement": "share of answers that differ from the frozen model's own answer to the clean frame; the "
    "data have no labels, so there is no error",
    "doubt": "1 - mean confidence, an estimate that can be far off; the data have neither labels nor clean "
    "frames, so there is no error",
}


@dataclass(frozen=True, slots=True)
class SegmentFigures:
    """One segment.

    Attributes:
        title: what the world does, and how harshly.
        severity: 0 where it does nothing.
        start: number of the first row.
        frames: answers in it.
        frozen: mean loss of the frozen model, nan where nothing is known.
        adapted: mean loss of the adapted stream.
        gain: frozen minus adapted, paired by frame, with its interval.
        in_drift: share of its frames reported as drift.
        finds: how often it was said in it that something changed.
        alarms: alarms raised in it.
        delay: answers from its start to the first find, None without one and in a clean beginning.
        delay_s: the same in seconds of stream time.
        level_delay: answers from its start until the level was drift, where it was not at the start.
        already: whether it began while the level had been drift for a while.
        clear: where it is clean and drift was said at its start, answers until that ended; else None.
        kinds: how often each kind of shift was named with an event.
    """

    title: str
    severity: float
    start: int
    frames: int
    frozen: float
    adapted: float
    gain: Interval
    in_drift: float
    finds: int
    alarms: int
    delay: int | None
    delay_s: float | None
    level_delay: int | None
    already: bool
    clear: int | None
    kinds: dict[str, int]


@dataclass(frozen=True, slots=True)
class Summary:
    """The whole run.

    Attributes:
        measure: what a loss is.
        unit: what a row is: ``frame`` or ``window``.
        segments: figures by segment.
        frozen: mean loss over all rows.
        adapted: likewise.
        gain: paired difference over all rows, the segments' intervals pooled.
        false_alarms: alarms in a clean world.
        clean_frames: answers in a clean world.
        changes: changes of the world to a shifted one.
        found: those that were found.
        by_level: others, at which the level became drift.
        standing: others, which came while the level was drift.
        median_delay: answers between such a change and its being found, None without any.
        unlabelled: rows without a label, where others have one.
    """

    measure: Measure
    unit: str
    segments: tuple[SegmentFigures, ...]
    frozen: float
    adapted: float
    gain: Interval
    false_alarms: int
    clean_frames: int
    changes: int
    found: int
    by_level: int
    standing: int
    median_delay: float | None
    unlabelled: int


def summarise(recording: Recording) -> Summary:
    """The figures of a run."""
    measure, batch = recording.measure, int(recording.about.get("batch", 1))
    figures = tuple(
        _segment(recording.rows, segment, measure, batch) for segment in recording.segments
    )
    rows = recording.rows
    losses = np.array([row.losses(measure) for row in rows], np.float64).reshape(-1, 2)
    changed = [f for f in figures[1:] if f.severity]
    delays = [f.delay for f in changed if f.delay is not None]
    calm = [f for f in figures if not f.severity]
    return Summary(
        measure=measure,
        unit=recording.unit,
        segments=figures,
        frozen=mean(losses[:, 0]),
        adapted=mean(losses[:, 1]),
        gain=pooled([(f.gain, f.frames) for f in figures]),
        false_alarms=sum(f.alarms for f in calm),
        clean_frames=sum(f.frames for f in calm),
        changes=len(changed),
        found=len(delays),
        by_level=sum(f.delay is None and f.level_delay is not None for f in changed),
        standing=sum(f.delay is None and f.already for f in changed),
        median_delay=float(statistics.median(delays)) if delays else None,
        unlabelled=sum(row.label is None for row in rows) if measure == "error" else 0,
    )


def _segment(rows: list[Row], segment: Segment, measure: Measure, batch: int) -> SegmentFigures:
    own = rows[segment.start : segment.stop]
    losses = np.array([row.losses(measure) for row in own], np.float64).reshape(-1, 2)
    first = next((k for k, row in enumerate(own) if row.event in FINDS), None)
    if segment.start == 0 and segment.clean:
        first = None  # nothing has changed yet: a find here is false
    # a level flickers where nothing is wrong: it stands where it has stood for two batches
    past = rows[max(0, segment.start - 2 * max(batch, STANDING)) : segment.start]
    already = bool(past) and all(row.level == "drift" for row in past)
    level_delay = None
    if not already and not segment.clean:
        level_delay = next((k for k, row in enumerate(own) if row.level == "drift"), None)
    clear = None
    if segment.clean and already:
        clear = next((k for k, row in enumerate(own) if row.level != "drift"), None)
    kinds: dict[str, int] = {}
    for row in own:
        if kind := str(row.detail.get("kind", "")):
            kinds[kind] = kinds.get(kind, 0) + 1
    return SegmentFigures(
        title=segment.title,
        severity=segment.severity,
        start=segment.start,
        frames=len(own),
        frozen=mean(losses[:, 0]),
        adapted=mean(losses[:, 1]),
        gain=interval(losses[:, 0] - losses[:, 1], block_of(len(own), batch), most=1.0),
        in_drift=mean(float(row.level == "drift") for row in own),
        finds=sum(row.event in FINDS for row in own),
        alarms=sum(row.event in ALARMS for row in own),
        delay=first,
        delay_s=None if first is None else own[first].t_s - own[0].t_s,
        level_delay=level_delay,
        already=already,
        clear=clear,
        kinds=kinds,
    )


def to_json(recording: Recording, summary: Summary) -> dict[str, Any]:
    """The summary as JSON's types; numbers that are not finite are None."""
    found = {
        "about": recording.about,
        "measure": summary.measure,
        "meaning": MEANING[summary.measure],
        **{k: v for k, v in asdict(summary).items() if k != "measure"},
        "counts": recording.counts,
        "thresholds": recording.thresholds,
    }
    flat: dict[str, Any] = plain(found)
    return flat


COLUMNS = (
    "segment",
    "frames",
    "frozen",
    "adapted",
    "gain [95 %]",
    "alarms",
    "in drift",
    "found after",
)
NARROW = (0, 2, 3, 4, 6, 7)  # of them, those that a terminal of 80 columns has room for


def table(summary: Summary) -> list[tuple[str, ...]]:
    """Rows for a terminal, losses in %, a last row for the whole stream."""
    rows = [
        (
            f.title,
            str(f.frames),
            percent(f.frozen),
            percent(f.adapted),
            points(f.gain),
            str(f.alarms),
            f"{100 * f.in_drift:.0f} %",
            _found(f),
        )
        for f in summary.segments
    ]
    frames = sum(f.frames for f in summary.segments)
    alarms = sum(f.alarms for f in summary.segments)
    whole = ("whole stream", str(frames), percent(summary.frozen), percent(summary.adapted))
    return [*rows, (*whole, points(summary.gain), str(alarms), "", "")]


def _found(f: SegmentFigures) -> str:
    if f.delay is not None:
        return str(f.delay)
    if not f.severity:
        return "" if f.clear is None else f"clear: {f.clear}"
    if f.already:
        return "standing"
    return "missed" if f.level_delay is None else f"level: {f.level_delay}"


def percent(share: float) -> str:
    """A share as text.

    >>> percent(0.1234), percent(float("nan"))
    ('12.3 %', 'unknown')
    """
    return f"{100 * share:.1f} %" if share == share else "unknown"


def points(gain: Interval) -> str:
    """A difference of shares in points, with its interval.

    >>> points(Interval(0.1, 0.05, 0.15)), points(Interval(0.1, None, None))
    ('+10.0 [+5.0, +15.0]', '+10.0')
    """
    if gain.mean != gain.mean:
        return "unknown"
    text = f"{100 * gain.mean:+.1f}"
    if gain.low is not None and gain.high is not None:
        text += f" [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    return text


__all__ = [
    "COLUMNS",
    "MEANING",
    "NARROW",
    "SegmentFigures",
    "Summary",
    "percent",
    "points",
    "summarise",
    "table",
    "to_json",
]
