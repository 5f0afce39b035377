"""What the finished cells of a sweep say: a line each method and protocol, as Markdown and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from tta.evaluation.interval import Interval, block_of, interval
from tta.evaluation.paired import difference
from tta.evaluation.sweep import Cell, Sweep

DRAWS = 1000  # of an interval over images


@dataclass(frozen=True, slots=True)
class Line:
    """A method under a protocol, over all visits and seeds.

    Attributes:
        error, frozen_error: in percent, the mean over visits, each counting by its images.
        gain: points of error less than the source model, with its 95 % interval; below zero it hurts.
        worst: the least gain of a visit, and its name.
        ms_per_frame: of adaptation and answer.
    """

    protocol: str
    adapter: str
    batch: int
    seeds: int
    images: int
    frozen_error: float
    error: float
    post_error: float | None
    gain: Interval
    worst: tuple[float, str]
    ms_per_frame: float


def lines(sweep: Sweep, out: Path) -> list[Line]:
    """What the finished cells say, a line each method and protocol.

    Seeds reorder the same images and are no new images: of several, whole images with all their appearances
    are resampled. Of one seed the interval is over blocks of the stream.
    """
    found = []
    for protocol, adapter, batch in product(sweep.protocols, sweep.adapters, sweep.batches):
        cells = [Cell(protocol, adapter, batch, seed) for seed in sweep.seeds]
        done = [cell for cell in cells if (out / f"{cell.key}.json").exists()]
        if not done:
            continue
        rows = [row for cell in done for row in _rows(out, cell)]
        gains = [(r["frozen_error"] - r["error"], r["visit"]) for r in rows]
        found.append(
            Line(
                protocol,
                adapter,
                batch,
                len(done),
                sum(r["images"] for r in rows) // len(done),
                _mean(rows, "frozen_error"),
                _mean(rows, "error"),
                _mean(rows, "post_error") if rows[0]["post_error"] is not None else None,
                _gain([out / f"{c.key}.npz" for c in done], batch),
                min(gains),
                _mean(rows, "ms_per_frame"),
            )
        )
    return found


def _rows(out: Path, cell: Cell) -> list[dict[str, Any]]:
    """The rows of a finished cell."""
    found: list[dict[str, Any]] = json.loads((out / f"{cell.key}.json").read_text("utf-8"))["rows"]
    return found


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    """Mean over visits, each counting by its images."""
    return float(np.average([r[key] for r in rows], weights=[r["images"] for r in rows]))


def _gain(paths: Sequence[Path], batch: int) -> Interval:
    """Gain in points with its interval: of one seed in stream order, of several by resampling images."""
    items, frozen, adapted = [], [], []
    for path in paths:
        with np.load(path) as images:
            frozen.append(images["frozen"] == images["label"])
            adapted.append(images["pre"] == images["label"])
            items.append(images["item"])
    before, after = np.concatenate(frozen), np.concatenate(adapted)
    if len(paths) > 1:
        found = difference(before, after, np.concatenate(items), DRAWS)
        return Interval(found.gain, found.low, found.high)
    gains = 100 * (after.astype(float) - before)
    return interval(gains, block_of(len(gains), batch), 100.0)


def table(found: Sequence[Line]) -> str:
    """Markdown, a row a method and protocol; where it hurts stands beside where it helps."""
    columns = (
        "protocol", "adapter", "batch", "images", "frozen %", "error %", "gain, points", "worst visit",
        "ms a frame",
    )  # fmt: skip
    rows = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for x in found:
        span = "" if x.gain.low is None else f" [{x.gain.low:+.1f}, {x.gain.high:+.1f}]"
        rows.append(
            f"| {x.protocol} | {x.adapter} | {x.batch} | {x.images:,} | {x.frozen_error:.1f} | {x.error:.1f} "
            f"| {x.gain.mean:+.1f}{span} | {x.worst[0]:+.1f} {x.worst[1]} | {x.ms_per_frame:.2f} |"
        )
    return "\n".join(rows) + "\n"


def write_tables(sweep: Sweep, out: Path) -> list[Line]:
    """``results.csv`` with a row a visit, and ``results.md``; returns the lines of the latter."""
    done = (cell for cell in sweep.cells() if (out / f"{cell.key}.json").exists())
    rows = [row for cell in done for row in _rows(out, cell)]
    if rows:
        with open(out / "results.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    found = lines(sweep, out)
    (out / "results.md").write_text(table(found), encoding="utf-8")
    return found


__all__ = ["Line", "lines", "table", "write_tables"]
