"""Cells of the study: each is one method on one stream, run once and kept as a file."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.nhl_study import bundles, watch_splits
from tests.recipes.make_lite0_bundle import photographs
from tta.bundle import Bundle
from tta.evaluation.cell import Material, evaluate
from tta.records import Array, Step
from tta.runtime.datasets import Dataset
from tta.runtime.datasets._rows import Rows
from tta.runtime.session import AdaptSession


class OutOfTime(Exception):
    """The time that was given is over; what is done is kept."""


@dataclass(frozen=True)
class Cell:
    """One method on one stream.

    Attributes:
        bundle: name of a bundle of the study.
        data: ``cifar10``, ``photographs``, or the name of a smartwatch split.
        adapter: ``name?option=value``.
        protocol: ``reset``, ``continual``; ``shuffled`` or ``in time`` for the smartwatch.
        corruptions: in this order.
        limit: the first so many items.
        batch: frames a step.
        seed: of the order.
        post: whether each batch is answered once more after its step.
    """

    bundle: str
    data: str
    adapter: str
    protocol: str
    corruptions: tuple[str, ...]
    limit: int
    batch: int
    seed: int = 0
    post: bool = False

    def key(self, made: Bundle) -> str:
        """Name of its file: what it is, and of what."""
        text = json.dumps(asdict(self)) + made.hash
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return (
            f"{self.bundle}-{self.adapter.partition('?')[0].rpartition('.')[2]}-{digest}".replace(
                ":", "_"
            )
        )


@dataclass(frozen=True)
class Result:
    """What came out: rows by visit, image arrays in stream order, and a digest of every step.

    ``digest`` covers, bit for bit, all slots that went into each step graph, its outputs, and its gradients
    by scale and bias.
    """

    rows: list[dict[str, Any]]
    images: Mapping[str, Array]
    digest: str
    seconds: float

    def error(self, which: str = "pre") -> float:
        """Mean error over visits in percent: ``pre``, ``post`` or ``frozen``."""
        key = {"pre": "error", "post": "post_error", "frozen": "frozen_error"}[which]
        return float(np.mean([row[key] for row in self.rows]))


class Stored(Material):
    """Material that corrupts each image once."""

    _held: dict[tuple[str, int], tuple[Array, Array]] | None = None

    def inputs(self, items: Array, corruption: str, severity: int) -> Array:
        """See ``Material``."""
        self._held = {} if self._held is None else self._held
        key = (corruption, severity)
        if key not in self._held:
            count, sample = len(self.labels), super().inputs(items[:1], corruption, severity)
            self._held[key] = (
                np.empty((count, *sample.shape[1:]), sample.dtype),
                np.zeros(count, bool),
            )
        values, known = self._held[key]
        if len(new := items[~known[items]]):
            values[new] = super().inputs(new, corruption, severity)
            known[new] = True
        return values[items]


class Digesting(AdaptSession):
    """Step graphs that leave a digest of what they were given and said."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.digest = hashlib.sha256()

    def run(self, graph: str, batch: Array, slots: Mapping[str, Array], **inputs: Any) -> Step:
        """See ``AdaptSession``."""
        step = super().run(graph, batch, slots, **inputs)
        if graph in ("step/entropy", "step/nhl"):
            trained = {k: g for k, g in step.gradients.items() if k.endswith((".scale", ".bias"))}
            for named in (slots, step.outputs, trained):
                for name in sorted(named):
                    self.digest.update(name.encode())
                    self.digest.update(np.ascontiguousarray(named[name]).tobytes())
        return step


class Laboratory:
    """Runs cells that are not there yet; several may share a folder, and none runs what another is running.

    Args:
        folder: of bundles and results.
        until: time at which no further cell begins, in seconds since the epoch; None never runs any.
    """

    def __init__(self, folder: Path, until: float | None) -> None:
        self.folder, self.until = folder, until
        for part in ("bundles", "cells"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self._bundles: dict[str, Bundle] = {}
        self._material: tuple[tuple[str, str, int], Stored] | None = None
        self._known: dict[str, Result] = {}
        self.awaited = 0  # cells that another was running when they were asked for

    def bundle(self, name: str) -> Bundle | None:
        """A bundle, made if there is time for it."""
        if name not in self._bundles:
            there = (self.folder / "bundles" / f"{name}.tta").exists()
            if not there and self.until is None:
                return None
            if not there:
                self._in_time()
            with open(self.folder / "bundles" / f"{name}.lock", "w") as claim:
                fcntl.flock(
                    claim, fcntl.LOCK_EX
                )  # gone with its process, so no lock outlives a kill
                self._bundles[name] = bundles.bundle(self.folder / "bundles", name)
        return self._bundles[name]

    def __call__(self, cell: Cell) -> Result | None:
        """The result of a cell; None where it is not there, and none may be run or another runs it now.

        Raises:
            OutOfTime: it is not there, and there is no time left.
        """
        made = self.bundle(cell.bundle)
        if made is None:
            return None
        key = cell.key(made)
        path = self.folder / "cells" / f"{key}.npz"
        if key not in self._known:
            if not path.exists():
                if self.until is None:
                    return None
                self._in_time()
                if not self._claimed(cell, made, path):
                    return None
            self._known[key] = read(path)
        return self._known[key]

    def _claimed(self, cell: Cell, made: Bundle, path: Path) -> bool:
        """Run a cell unless another does; whether it is there now."""
        with open(path.with_suffix(".lock"), "w") as claim:
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.awaited += 1
                return False
            if not path.exists():
                self._run(cell, made, path)
        path.with_suffix(".lock").unlink(missing_ok=True)
        return True

    def _in_time(self) -> None:
        if self.until is not None and time.time() > self.until:
            raise OutOfTime

    def _run(self, cell: Cell, made: Bundle, path: Path) -> None:
        began, session = time.perf_counter(), Digesting(made)
        material, protocol = self._of(cell, made)
        found = evaluate(
            material,
            protocol,
            cell.adapter,
            batch=cell.batch,
            seed=cell.seed,
            corruptions=cell.corruptions,
            post=cell.post,
            session=session,
        )
        seconds = time.perf_counter() - began
        about = {
            "cell": asdict(cell),
            "rows": found.rows,
            "digest": session.digest.hexdigest(),
            "seconds": round(seconds, 1),
        }
        names = ("visit", "item", "label", "frozen", "pre", "post")
        arrays = {name: found.images[name].astype(np.int16) for name in names}
        scratch = path.with_suffix(f".{os.getpid()}.npz")
        np.savez_compressed(scratch, about=np.array(json.dumps(about)), **arrays)
        scratch.replace(path)
        errors = [np.mean([row[k] for row in found.rows]) for k in ("frozen_error", "error")]
        what = f"{cell.bundle} {cell.protocol} seed {cell.seed} {cell.limit} {cell.adapter}"
        clock = time.strftime("%H:%M:%S")
        print(f"{clock} {what}: {errors[0]:.2f} -> {errors[1]:.2f} %, {seconds:.0f} s", flush=True)

    def _of(self, cell: Cell, made: Bundle) -> tuple[Stored, Any]:
        """Material and protocol of a cell; the last material is kept, which the next cell mostly shares."""
        key = (made.hash, cell.data, cell.limit)
        if self._material is None or self._material[0] != key:
            self._material = None  # frees it first
            self._material = (key, Stored(made, _data(cell.data), cell.limit))
        if cell.data in watch_splits.SPLITS:
            shuffled = cell.protocol == "shuffled"
            return self._material[1], watch_splits.Persons(self._whose(cell.data), shuffled)
        return self._material[1], cell.protocol

    def _whose(self, split: str) -> Array:
        return watch_splits.stream(split)[1]

    @cached_property
    def finished(self) -> int:
        """Number of cells on disk."""
        return len(list((self.folder / "cells").glob("*.npz")))


def _data(name: str) -> str | Dataset:
    if name in watch_splits.SPLITS:
        return watch_splits.stream(name)[0]
    if name == "photographs":
        images, labels, _, _ = photographs()
        return Rows(images, labels, (), name)
    return name


def read(path: Path) -> Result:
    """A finished cell."""
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        images = {k: file[k] for k in file.files if k != "about"}
    return Result(about["rows"], images, about["digest"], about["seconds"])


__all__ = ["Cell", "Laboratory", "OutOfTime", "Result"]
