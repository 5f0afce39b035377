"""Many cells: every adapter under every protocol, seed and batch, resumable and in parallel.

A cell is two files in the results folder, ``<key>.json`` with its rows and ``<key>.npz`` with its images,
each written whole or not at all. A second run makes what is missing, and ``sweep.json`` says whose results
these are: a folder of another bundle, other data or another setting is refused.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.corruptions import check_severity
from tta.errors import TtaError
from tta.evaluation.cell import Material, Outcome, corruption_names, evaluate
from tta.evaluation.interval import Interval, block_of, interval
from tta.evaluation.paired import difference
from tta.evaluation.protocols import Setting, build
from tta.runtime.extra import load_extra
from tta.runtime.method import check_coupling, check_needs, make_adapter, source_state

SMOKE = 2000  # images of the smoke tier
DRAWS = 1000  # of an interval over images


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is run: all combinations of the lists.

    Attributes:
        bundle: path.
        data: what ``sim://`` takes.
        adapters: ``name?option=value`` each.
        protocols: ``name`` or ``name:argument`` each.
        seeds: of order and chance.
        batches: frames a step.
        corruptions: ``all``, or names joined by commas.
        severity: the largest, 1 to 5.
        limit: images of the data that are used, None for all.
        post: also the answers after each update.
    """

    bundle: str
    data: str
    adapters: tuple[str, ...]
    protocols: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    batches: tuple[int, ...] = (200,)
    corruptions: str = "all"
    severity: int = 5
    limit: int | None = SMOKE
    post: bool = False

    def cells(self) -> list[Cell]:
        """All combinations, in order."""
        lists = (self.protocols, self.adapters, self.batches, self.seeds)
        return [Cell(*values) for values in product(*lists)]


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination."""

    protocol: str
    adapter: str
    batch: int
    seed: int

    @property
    def key(self) -> str:
        """Its file name: readable, and told apart by a hash."""
        text = f"{self.protocol}-{self.adapter}-b{self.batch}-s{self.seed}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', text)[:80]}-{digest}"


def check(sweep: Sweep, out: Path) -> Material:
    """The data and the source model, unless something cannot be run: then nothing is.

    Raises:
        TtaError: a method that does not fit the bundle or a batch, an unknown name, data without
            labels, or a folder with other results.
    """
    bundle = Bundle(sweep.bundle)
    for adapter, batch in product(sweep.adapters, sweep.batches):
        method = make_adapter(adapter)
        check_needs(method, bundle)
        source_state(method, bundle)
        check_coupling(method, bundle, batch)
    chosen = corruption_names(sweep.corruptions)
    for name in chosen:
        check_severity(name, sweep.severity)
    material = Material(bundle, sweep.data, sweep.limit)
    for name in ("none", *chosen):  # of the right kind, and an input of this model
        material.inputs(np.arange(1), name, 0 if name == "none" else sweep.severity)
    count = len(material.labels)
    for protocol, seed in product(sweep.protocols, sweep.seeds):
        setting = Setting(material.labels, chosen, sweep.severity, count, seed)
        next(build(protocol).visits(setting))
    about = {
        "bundle": bundle.hash,
        "data": material.hash,
        **{k: asdict(sweep)[k] for k in ("corruptions", "severity", "limit", "post")},
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / "sweep.json"
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))
        if differs := [k for k, v in about.items() if there.get(k) != v]:
            raise TtaError(
                f"{out} holds results of another {' and another '.join(differs)}: name an empty folder "
                "with --out, or remove that one"
            )
    else:
        _write(path, json.dumps(about, indent=2).encode() + b"\n")
    return material


def run(
    sweep: Sweep, out: Path, material: Material, jobs: int = 1, backend: str | None = None
) -> Iterator[Cell]:
    """Make the cells that are missing; yields each as it is done.

    Args:
        sweep: what to run.
        out: folder of the results.
        material: what ``check`` gave; other processes open their own.
        jobs: processes beside one another, through joblib.
        backend: a joblib backend by name, such as ``dask`` once a Dask client is there.

    Raises:
        MissingExtraError: more than one job, or a backend, is asked for without joblib.
    """
    todo = [cell for cell in sweep.cells() if not (out / f"{cell.key}.json").exists()]
    if jobs == 1 and backend is None:
        yield from (_made(sweep, cell, out, material) for cell in todo)
        return
    joblib: Any = load_extra("evaluate", "tta evaluate with several jobs", "joblib")
    most = -1 if backend and jobs == 1 else jobs  # a cluster knows how many it has
    with joblib.parallel_config(backend=backend or "loky", n_jobs=most):
        calls = (joblib.delayed(work)(sweep, cell, out) for cell in todo)
        yield from joblib.Parallel(return_as="generator_unordered")(calls)


def work(sweep: Sweep, cell: Cell, out: Path) -> Cell:
    """One cell in a process of its own."""
    return _made(sweep, cell, out, Material(Bundle(sweep.bundle), sweep.data, sweep.limit))


def _made(sweep: Sweep, cell: Cell, out: Path, material: Material) -> Cell:
    """The cell, once its results are written."""
    outcome = evaluate(
        material,
        cell.protocol,
        cell.adapter,
        batch=cell.batch,
        seed=cell.seed,
        corruptions=sweep.corruptions,
        severity=sweep.severity,
        post=sweep.post,
    )
    _save(out, cell, outcome)
    return cell


def _save(out: Path, cell: Cell, outcome: Outcome) -> None:
    """Images first: a cell is done when its rows are there."""
    scratch = out / f".{cell.key}.{os.getpid()}.npz"
    arrays: dict[str, Any] = dict(outcome.images)
    np.savez_compressed(scratch, **arrays)
    os.replace(scratch, out / f"{cell.key}.npz")
    text = json.dumps({**asdict(cell), "rows": outcome.rows}, allow_nan=False)
    _write(out / f"{cell.key}.json", text.encode() + b"\n")


def _write(path: Path, data: bytes) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_bytes(data)
    os.replace(scratch, path)


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


__all__ = [
    "SMOKE",
    "Cell",
    "Line",
    "Sweep",
    "check",
    "lines",
    "run",
    "table",
    "work",
    "write_tables",
]
