"""A results folder as data: its finished cells, by method and protocol, from the files alone."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tta.errors import TtaError
from tta.records import Array

# of a cell's file; the rest is its setting
KNOWN = ("protocol", "adapter", "batch", "seed", "rows")
KEPT = 4  # groups whose arrays stay in memory: a whole matrix would not fit


@dataclass(frozen=True, slots=True)
class Finished:
    """One finished cell: its seed, its rows (one a visit), and the file of its images."""

    seed: int
    rows: list[dict[str, Any]]
    images: Path


@dataclass(frozen=True, slots=True)
class Group:
    """A method under a protocol: the same cell under each seed.

    Frames whose label is -1, which are of no class that the model knows, are in none of the arrays.

    Attributes:
        protocol: ``name`` or ``name:argument``.
        adapter: ``name?option=value``.
        batch: frames a step.
        setting: what else tells it from others, such as a serve mode; empty where there is nothing.
        cells: one a seed.
    """

    protocol: str
    adapter: str
    batch: int
    setting: str
    cells: tuple[Finished, ...]

    @property
    def method(self) -> str:
        """The adapter, with its setting where it has one."""
        return f"{self.adapter} ({self.setting})" if self.setting else self.adapter

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of all cells."""
        return [row for cell in self.cells for row in cell.rows]

    @property
    def images(self) -> Mapping[str, Array]:
        """Arrays over all labelled frames of all seeds in stream order, with ``seed`` and ``place``.

        ``place`` is that of a frame in its visit, those without a label counted.
        """
        stats = (cell.images.stat() for cell in self.cells)
        written = tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)
        return _joined(tuple((cell.images, cell.seed) for cell in self.cells), written)

    def right(self, which: str = "pre") -> Array:
        """``(n,)`` bool: answered rightly by ``frozen``, ``pre`` or ``post``."""
        found: Array = self.images[which] == self.images["label"]
        return found

    def visits(self) -> list[tuple[str, float, float, int]]:
        """Name, frozen error and error in percent, and frames of each visit with labels.

        Visits of several seeds that have the same number are one.
        """
        number = self.images["visit"]
        names = [row["visit"] for row in max((c.rows for c in self.cells), key=len)]
        wrong = {which: ~self.right(which) for which in ("frozen", "pre")}
        found = []
        for k in np.unique(number):
            mine = number == k
            frozen, error = (100 * float(wrong[which][mine].mean()) for which in ("frozen", "pre"))
            found.append((str(names[k]), frozen, error, int(mine.sum())))
        return found


@lru_cache(maxsize=KEPT)
def _joined(
    cells: tuple[tuple[Path, int], ...], written: tuple[tuple[int, int], ...]
) -> Mapping[str, Array]:
    """The arrays of cells one after another; ``written`` tells files from older ones of their name."""
    parts: list[dict[str, Array]] = []
    for path, seed in cells:
        arrays = _arrays(path)
        count, visit = len(arrays["label"]), arrays["visit"]
        arrays["place"] = (np.arange(count) - np.searchsorted(visit, visit)).astype(np.int32)
        arrays["seed"] = np.full(count, seed, np.int32)
        known = arrays["label"] >= 0
        parts.append({name: a[known] for name, a in arrays.items()})
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in shared}


def _arrays(path: Path) -> dict[str, Array]:
    """The arrays of a cell, all of one length; an answer that was not finite has no confidence."""
    try:
        with path.open("rb") as opened:  # np.load leaves a damaged file open
            file = np.load(opened, allow_pickle=False)
            arrays = {name: file[name] for name in file.files}
        count = len(arrays["label"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise TtaError(f"{path} is damaged: run the same tta evaluate again") from error
    for name in ("frozen_confidence", "pre_confidence"):
        arrays[name] = np.nan_to_num(arrays[name]).clip(0, 1)
    whole = {name: a for name, a in arrays.items() if a.shape[:1] == (count,)}
    return {name: a.astype(np.int32) if a.dtype.kind == "i" else a for name, a in whole.items()}


def read(folder: Path) -> list[Group]:
    """All groups of a folder, by protocol, method and batch, the source model first.

    Cells without a single labelled frame are left out.

    Raises:
        TtaError: there is no such folder, no labelled result in it, or a file that is damaged.
    """
    found: dict[tuple[str, str, int, str], list[Finished]] = {}
    for path in sorted(folder.glob("*.json")):
        images = path.with_suffix(".npz")
        if not images.exists():
            continue  # it says whose results these are, or is somebody else's
        try:
            cell = json.loads(path.read_text(encoding="utf-8"))
            setting = ", ".join(f"{k} {v}" for k, v in sorted(cell.items()) if k not in KNOWN)
            key = cell["protocol"], cell["adapter"], int(cell["batch"]), setting
            found.setdefault(key, []).append(Finished(int(cell["seed"]), cell["rows"], images))
        except (ValueError, KeyError, TypeError) as error:
            raise TtaError(
                f"{path} is no cell of a sweep: remove it, and run tta evaluate again"
            ) from error
    if not found:
        raise TtaError(f"{folder} holds no results: name a folder that tta evaluate has written")
    order = sorted(found, key=lambda key: (key[0], key[1] != "none", *key[1:]))
    groups = [Group(*key, tuple(sorted(found[key], key=lambda c: c.seed))) for key in order]
    if not (known := [g for g in groups if any(row["images"] for row in g.rows)]):
        raise TtaError(
            f"no frame of the results in {folder} has a label: evaluate on labelled data"
        )
    return known


__all__ = ["Finished", "Group", "read"]
