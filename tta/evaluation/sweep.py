"""Many cells: every adapter under every protocol, seed and batch, resumable and in parallel.

A cell is two files in the results folder, ``<key>.json`` with its rows and ``<key>.npz`` with its images,
each written whole or not at all. A second run makes what is missing or damaged, and ``sweep.json`` says whose
results these are: a folder of another bundle, other data, another setting or version is refused. The source
model's answers lie in ``frozen/``, shared by all cells.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.corruptions import check_severity
from tta.errors import TtaError
from tta.evaluation.cell import Material, Outcome, check_serve, corruption_names, evaluate
from tta.evaluation.serving import Serve
from tta.evaluation.unfit import first_refusal
from tta.evaluation.whole_file import write_arrays, write_bytes
from tta.governor import Mode
from tta.runtime.extra import load_extra

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
        serve: ``batch`` or ``stream``.
        governor: ``always``, ``auto`` or ``off``.
        brief: protocols that show the data many times over take a part of it each time.
        probabilities: keep the source model's probabilities even where they are many.
        buffer: which frames a step is on where a stream is served, or ``auto``.
        left_out: combinations of protocol, adapter and batch that are not run.
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
    serve: Serve = "batch"
    governor: Mode = "always"
    brief: bool = True
    probabilities: bool = False
    buffer: str = "auto"
    left_out: frozenset[tuple[str, str, int]] = frozenset()

    def cells(self) -> list[Cell]:
        """All combinations that are run, in order."""
        lists = (self.protocols, self.adapters, self.batches, self.seeds)
        cells = [Cell(*values) for values in product(*lists)]
        return [c for c in cells if (c.protocol, c.adapter, c.batch) not in self.left_out]

    def material(self, out: Path | None) -> Material:
        """Its bundle and data; what the source model says is kept in the results folder."""
        folder = out / "frozen" if out else None
        bundle = Bundle(self.bundle)
        return Material(
            bundle, self.data, self.limit, folder=folder, probabilities=self.probabilities
        )


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
    check_serve(sweep.serve, sweep.governor, sweep.post, sweep.buffer)
    chosen = corruption_names(sweep.corruptions)
    for name in chosen:
        check_severity(name, sweep.severity)
    if out.exists() and not out.is_dir():
        raise TtaError(f"{out} is a file, but results need a folder: name another one with --out")
    material = sweep.material(out)
    if refusal := first_refusal(sweep, material):
        raise TtaError(refusal)
    for name in ("none", *chosen):  # of the right kind, and an input of this model
        material.inputs(np.arange(1), name, 0 if name == "none" else sweep.severity)
    names = ("corruptions", "severity", "limit", "post", "serve", "governor", "buffer", "brief")
    about = {
        "bundle": material.bundle.hash,
        "data": material.hash,
        **{name: getattr(sweep, name) for name in names},
        "tta": version("tta-edge"),
    }
    path = out / "sweep.json"
    if path.exists():
        there = _about(path)
        if differs := [k for k, v in about.items() if there.get(k) != v]:
            raise TtaError(
                f"{out} holds results of another {' and another '.join(differs)}: name an empty folder "
                "with --out, or remove that one"
            )
    else:
        write_bytes(path, json.dumps(about, indent=2).encode() + b"\n")
    return material


def _about(path: Path) -> dict[str, Any]:
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TtaError(
            f"{path} is damaged, so nobody knows whose results these are: name an empty folder with --out, "
            "or remove that one"
        ) from error
    return there if isinstance(there, dict) else {}


def damaged(sweep: Sweep, out: Path) -> list[Path]:
    """Rows of cells that look finished and are not, as after a power cut: ``run`` makes these again."""
    paths = [out / f"{cell.key}.json" for cell in sweep.cells()]
    return [path for path in paths if path.exists() and not _whole(path)]


def _whole(path: Path) -> bool:
    """Whether a cell's rows are there, and its images can be read to the end."""
    try:
        frames = sum(row["frames"] for row in json.loads(path.read_text(encoding="utf-8"))["rows"])
        with path.with_suffix(".npz").open("rb") as file:  # np.load leaves a damaged one open
            images = np.load(file, allow_pickle=False)
            return frames > 0 and all(len(images[name]) == frames for name in images.files)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return False


def run(
    sweep: Sweep, out: Path, material: Material, jobs: int = 1, backend: str | None = None
) -> Iterator[Cell]:
    """Make the cells that are missing or damaged; yields each as it is done.

    Args:
        sweep: what to run.
        out: folder of the results.
        material: what ``check`` gave; other processes open their own.
        jobs: processes beside one another, through joblib.
        backend: a joblib backend by name, such as ``dask`` once a Dask client is there.

    Raises:
        MissingExtraError: more than one job, or a backend, is asked for without joblib.
        TtaError: there is no such backend, or a process was killed.
    """
    todo = [cell for cell in sweep.cells() if not _whole(out / f"{cell.key}.json")]
    if jobs == 1 and backend is None:
        yield from (_made(sweep, cell, out, material) for cell in todo)
        return
    joblib: Any = load_extra("evaluate", "tta evaluate with several jobs", "joblib")
    most = -1 if backend and jobs == 1 else jobs  # a cluster knows how many it has
    try:
        with joblib.parallel_config(backend=backend or "loky", n_jobs=most):
            parallel = joblib.Parallel(return_as="generator_unordered")
            done = parallel(joblib.delayed(work)(sweep, cell, out) for cell in todo)
    except (ValueError, ImportError) as error:
        reason = str(error).splitlines()[0].rstrip(". ") if str(error) else "no reason given"
        raise TtaError(
            f"joblib has no backend {backend!r} here ({reason}): take loky, or for dask make a "
            "distributed.Client in this process first, see docs/evaluation.md"
        ) from error
    try:
        yield from done
    except BrokenExecutor as error:
        raise TtaError(
            "a process that made a cell was killed, most often for want of memory: take fewer --jobs; "
            "what is done is kept"
        ) from error


def work(sweep: Sweep, cell: Cell, out: Path) -> Cell:
    """One cell in a process of its own, which keeps the data for the next one."""
    about = (out / "sweep.json").read_text(encoding="utf-8")
    return _made(sweep, cell, out, _opened(sweep, out, about, threading.get_ident()))


@lru_cache(maxsize=4)
def _opened(sweep: Sweep, out: Path, about: str, thread: int) -> Material:
    """What this thread of this process works on; it must be what ``sweep.json`` was written for."""
    material, said = sweep.material(out), json.loads(about)
    if (said["bundle"], said["data"]) != (material.bundle.hash, material.hash):
        raise TtaError(
            f"a process finds another bundle at {sweep.bundle} or other data at {sweep.data} than the "
            "one that began the sweep: all machines of a cluster need the same files"
        )
    return material


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
        serve=sweep.serve,
        governor=sweep.governor,
        buffer=sweep.buffer,
        brief=sweep.brief,
    )
    _save(out, cell, outcome)
    return cell


def _save(out: Path, cell: Cell, outcome: Outcome) -> None:
    """Images first: a cell is done when its rows are there."""
    path = out / f"{cell.key}.json"
    write_arrays(path.with_suffix(".npz"), outcome.images)
    text = json.dumps({**asdict(cell), "rows": outcome.rows}, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


__all__ = ["SMOKE", "Cell", "Sweep", "check", "damaged", "run", "work"]
