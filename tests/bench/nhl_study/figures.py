"""Figures of the study from finished cells: errors, and paired differences with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tests.bench.nhl_study.cells import Cell, Result
from tests.bench.nhl_study.plan import Ask
from tta.evaluation.paired import Difference, difference
from tta.records import Array


@dataclass(frozen=True)
class Side:
    """A method as it is compared: its cell by seed, and whose answers: ``pre``, ``post``, ``frozen``."""

    label: str
    cell: Callable[[int], Cell]
    which: str = "pre"


def results(ask: Ask, side: Side, seeds: Sequence[int]) -> dict[int, Result]:
    """Those that are there, by seed."""
    found = {seed: ask(side.cell(seed)) for seed in seeds}
    return {
        seed: result
        for seed, result in found.items()
        if result is not None and (side.which != "post" or result.rows[0]["post_error"] is not None)
    }


def errors(ask: Ask, side: Side, seeds: Sequence[int]) -> list[float]:
    """Mean error over visits in percent, by seed."""
    return [r.error(side.which) for r in results(ask, side, seeds).values()]


def compare(ask: Ask, base: Side, side: Side, seeds: Sequence[int]) -> Difference | None:
    """Points of error that ``side`` has less than ``base``, on the seeds that both have.

    Whole images are resampled, with all their corruptions and seeds: a seed reorders the same images.
    """
    a, b = (results(ask, s, seeds) for s in (base, side))
    common = [seed for seed in seeds if seed in a and seed in b]
    if not common:
        return None
    parts = [(a[seed], b[seed]) for seed in common]
    for first, second in parts:
        if not np.array_equal(first.images["item"], second.images["item"]):
            raise AssertionError("two cells of one seed have met their images in different orders")
    items = np.concatenate([first.images["item"] for first, _ in parts])
    before = np.concatenate([right(first, base.which) for first, _ in parts])
    after = np.concatenate([right(second, side.which) for _, second in parts])
    return difference(before, after, items)


def right(result: Result, which: str) -> Array:
    """Whether each answer is right, in stream order."""
    found: Array = result.images[which] == result.images["label"]
    return found


def by_visit(result: Result, which: str) -> dict[str, float]:
    """Error in percent by visit."""
    key = {"pre": "error", "post": "post_error", "frozen": "frozen_error"}[which]
    return {row["visit"]: row[key] for row in result.rows}


def said(found: Difference | None) -> str:
    """A difference in a table."""
    if found is None:
        return "not run"
    return f"{found.gain:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def verdict(found: Difference | None) -> str:
    """What an interval allows to say."""
    if found is None:
        return "not run"
    word = "better" if found.low > 0 else "worse" if found.high < 0 else "no difference shown"
    return f"{said(found)}, {word}"


def spread(values: Sequence[float]) -> str:
    """Mean and, of several seeds, the least and the most."""
    if not values:
        return "not run"
    text = f"{np.mean(values):.2f}"
    return text if len(values) == 1 else f"{text} ({min(values):.2f} to {max(values):.2f})"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
