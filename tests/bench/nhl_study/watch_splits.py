"""The smartwatch splits: three that leave three people out, and one that leaves a wrist out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tests.recipes.make_watch_bundle import train
from tests.recipes.watch import HOP, LABELS, LENGTH
from tta.evaluation.protocols import Setting, Visit, visit
from tta.runtime.datasets._rows import Rows
from tta.runtime.datasets.watch import Watch

PEOPLE = {"watch-8-10": (8, 9, 10), "watch-1-3": (1, 2, 3), "watch-4-6": (4, 5, 6)}
SPLITS = (*PEOPLE, "watch-wrist")
FEW = 512  # windows that calibrate


@dataclass(frozen=True)
class Windows:
    """Windows ``x (N, 6, 100)`` in order of time, labels ``y``, and who is left for the stream."""

    x: np.ndarray
    y: np.ndarray
    who: np.ndarray
    held: np.ndarray


def windows(name: str) -> Windows:
    """All windows of the recordings, those of a split's people or wrist marked as held out."""
    data, sides = Watch(), _sides()
    x, y, who, held = [], [], [], []
    for k, (label, person) in enumerate(zip(data.labels, data.subjects)):
        at = np.arange(data.lengths[k])
        series = data.read(np.full_like(at, k), at)
        out = person in PEOPLE[name] if name in PEOPLE else sides[k] == 1
        for start in range(0, len(series) - LENGTH + 1, HOP):
            x.append(series[start : start + LENGTH].T)
            y.append(label)
            who.append(person)
            held.append(out)
    return Windows(np.stack(x).astype(np.float32), *(np.array(v) for v in (y, who, held)))


def _sides() -> np.ndarray:
    """0 for the left wrist and 1 for the right, by recording; ``Watch`` does not keep it."""
    import io

    from tta.runtime.datasets.watch import _content

    Watch()  # checks the file's hash before it is unpickled here
    return np.load(io.BytesIO(_content()), allow_pickle=True).item()["side"]


def made(name: str) -> tuple[torch.nn.Module, np.ndarray, Mapping[str, Any]]:
    """The model trained on what is not held out, calibration samples, and options of export."""
    found = windows(name)
    seen = found.x[~found.held]
    mean, std = seen.mean((0, 2)), seen.std((0, 2))
    x = ((seen - mean[:, None]) / std[:, None]).astype(np.float32)
    model = train(torch.from_numpy(x), torch.from_numpy(found.y[~found.held].astype(np.int64)))
    chosen = np.random.default_rng(0).permutation(len(x))[:FEW]
    preprocess = {
        "kind": "window", "channels": 6, "length": LENGTH, "hop": HOP,
        "mean": [float(f"{v:.6g}") for v in mean], "std": [float(f"{v:.6g}") for v in std],
    }  # fmt: skip
    return model, x[chosen], {"labels": LABELS, "preprocess": preprocess}


def stream(name: str) -> tuple[Rows, np.ndarray]:
    """The held-out windows as data, and whose they are."""
    found = windows(name)
    return Rows(found.x[found.held], found.y[found.held], LABELS, name), found.who[found.held]


class Persons:
    """One visit a person, from the source each time.

    Args:
        who: ``(N,)`` whose each window is.
        shuffled: windows in a random order; else in order of time, exercise by exercise.
    """

    resets = "before each person"

    def __init__(self, who: np.ndarray, shuffled: bool) -> None:
        self.who, self.shuffled = who, shuffled

    def __repr__(self) -> str:
        return f"persons:{'shuffled' if self.shuffled else 'in time'}"

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """See ``EvaluationProtocol``."""
        for person in np.unique(self.who):
            items = np.flatnonzero(self.who == person)
            if self.shuffled:
                items = np.random.default_rng([setting.seed, person]).permutation(items)
            yield visit(items, "none", 0, True, f"person {person}")
