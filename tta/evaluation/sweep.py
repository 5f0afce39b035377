"""Many cells: every adapter under every protocol, seed and batch, resumable and in parallel.

A cell is two files in the results folder, ``<key>.json`` with its rows and ``<key>.npz`` with its images,
each written whole or not at all. A second run makes what is missing, and ``sweep.json`` says whose results
these are: a folder of another bundle, other data or another setting is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.corruptions import check_severity
from tta.errors import TtaError
from tta.evaluation.cell import Material, Outcome, corruption_names, evaluate
from tta.evaluation.protocols import Setting, build
from tta.runtime.extra import load_extra
from tta.runtime.method import check_coupling, check_needs, make_adapter

SMOKE = 2000  # images of the smoke tier


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


__all__ = ["SMOKE", "Cell", "Sweep", "check", "run", "work"]
