"""A method under a protocol in figures: its errors, its gain with an interval, and whether it hurts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tta.evaluation.interval import FEWEST, Interval, block_of, interval, pooled, within
from tta.evaluation.paired import difference, holm, mcnemar_by_unit
from tta.evaluation.reliability import calibration_error
from tta.evaluation.results import Group
from tta.records import Array

DRAWS = 1000  # of an interval over clips or images
LEVEL = 0.05  # of all tests of a folder together
HURTS, HELPS, SAME = "hurts", "helps", "no difference"


@dataclass(frozen=True, slots=True)
class Line:
    """A method under a protocol, over all visits and seeds, frames without a known class left out.

    Attributes:
        images: labelled frames a seed.
        error, frozen_error: in percent, over all frames of all seeds.
        error_span: the former with its 95 % interval.
        post_error: of the answers after each update, None where they were not asked for.
        gain: points of error less than the source model, with its 95 % interval; below zero it hurts.
        over: what the interval was drawn over: clips, images or blocks of the stream.
        worst: the least gain of a visit, and its name.
        ece, frozen_ece: expected calibration error in percent, 15 bins over all frames.
        ms_per_frame: of adaptation and answer.
        broken, repaired: answers that the method alone has wrong, and alone has right.
        p: that neither is better, by McNemar's test.
        p_holm: the same for all methods and protocols of the folder at once.
        verdict: ``hurts``, ``helps`` or ``no difference`` at 5 % of ``p_holm``.
    """

    protocol: str
    adapter: str
    setting: str
    batch: int
    seeds: int
    images: int
    frozen_error: float
    error: float
    error_span: Interval
    post_error: float | None
    gain: Interval
    over: str
    worst: tuple[float, str]
    frozen_ece: float
    ece: float
    ms_per_frame: float
    broken: int
    repaired: int
    p: float
    p_holm: float = 1.0
    verdict: str = SAME

    @property
    def method(self) -> str:
        """The adapter, with its setting where it has one."""
        return f"{self.adapter} ({self.setting})" if self.setting else self.adapter


def lines(groups: Sequence[Group]) -> list[Line]:
    """A line each group, tested together.

    Frames of one clip stand or fall together, so clips are what is drawn and tested where there are any.
    Without them the test is over images, each with all its appearances. Seeds reorder the same images and are
    no new images: the intervals of several seeds are drawn over images too, those of one over blocks of each
    visit, or of the whole stream where visits are short. ``none`` is the source model itself, so it is not
    tested.
    """
    found = [_line(group) for group in groups]
    tested = [k for k, line in enumerate(found) if line.adapter != "none"]
    for k, p in zip(tested, holm([found[k].p for k in tested])):
        verdict = SAME
        if p < LEVEL:
            verdict = HURTS if found[k].broken > found[k].repaired else HELPS
        found[k] = replace(found[k], p_holm=p, verdict=verdict)
    return found


def _line(group: Group) -> Line:
    images, rows = group.images, group.rows
    before, after = group.right("frozen"), group.right()
    units = _clips(group)
    gain, over = _span(group, units, before, after)
    errors, _ = _span(group, units, np.zeros_like(after), ~after)
    test = mcnemar_by_unit(before, after, images["item"] if units is None else units)
    times = [row["ms_per_frame"] for row in rows]
    answered_late = "post" in images and (images["post"] >= 0).all()
    sure = [
        100 * calibration_error(images[f"{which}_confidence"], right)
        for which, right in (("frozen", before), ("pre", after))
    ]
    return Line(
        group.protocol,
        group.adapter,
        group.setting,
        group.batch,
        len(group.cells),
        len(before) // len(group.cells),
        100 * float((~before).mean()),
        100 * float((~after).mean()),
        replace(errors, low=None if errors.low is None else max(0.0, errors.low)),
        100 * float((~group.right("post")).mean()) if answered_late else None,
        gain,
        over,
        min((frozen - error, name) for name, frozen, error, _ in group.visits()),
        sure[0],
        sure[1],
        float(np.average(times, weights=[row["images"] for row in rows])),
        test.broken,
        test.repaired,
        test.exact,
    )


def _clips(group: Group) -> Array | None:
    """Clip of each frame, None where there are none."""
    clips = group.images.get("clip")
    return None if clips is None or (clips < 0).any() else clips


def _span(group: Group, clips: Array | None, before: Array, after: Array) -> tuple[Interval, str]:
    """How many points more often ``after (n,)`` is right than ``before``, and what the interval is over."""
    gains = 100 * (after.astype(float) - before)
    if clips is None and len(group.cells) == 1:
        visit = group.images["visit"]
        parts = [gains[visit == k] for k in np.unique(visit)]
        each = [(interval(g, block_of(len(g), group.batch), 100.0), len(g)) for g in parts]
        found = pooled(each)
        if found.low is None:  # visits too short to have one of their own
            found = within(parts, block_of(min(map(len, parts)), group.batch), 100.0)
        if found.low is None:
            found = interval(gains, block_of(len(gains), group.batch), 100.0)
        return found, "blocks"
    over = "images" if clips is None else "clips"
    units = group.images["item"] if clips is None else clips
    if len(np.unique(units)) < FEWEST:
        return Interval(float(gains.mean()), None, None), over
    drawn = difference(before, after, units, DRAWS)
    return Interval(drawn.gain, drawn.low, drawn.high), over


def hurting(found: Sequence[Line]) -> list[Line]:
    """The lines where the method hurts, worst first."""
    return sorted((x for x in found if x.verdict == HURTS), key=lambda x: x.gain.mean)


__all__ = ["HELPS", "HURTS", "SAME", "Line", "hurting", "lines"]
