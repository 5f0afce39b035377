"""Data with the truth of any task, and the source model's answers to them."""

from __future__ import annotations

import os

import numpy as np

from tta.bundle import Bundle
from tta.errors import TtaError
from tta.evaluation.protocols import Visit
from tta.evaluation.readings import MOST_BYTES, Readings
from tta.records import Array, Frame
from tta.runtime.datasets import Dataset, open_dataset
from tta.runtime.model import Model
from tta.runtime.preprocess import build as preprocessing
from tta.runtime.session import InferSession

CHUNK = 128  # frames that the source model is asked at once


class TaskMaterial:
    """Frames, their truth as ``Task.checked`` has it, and a bundle; each frame of a visit is one item.

    Args:
        bundle: of any task.
        data: an .npz archive with ``images`` or ``windows`` and the task's targets, or for a task whose
        targets
            are classes what ``sim://`` takes.
        limit: so many items only: the same ones each time, drawn without regard to their order.
        seed: of what chance does to an item.

    Raises:
        TtaError: there is no truth, or it does not fit the bundle's outputs.
        SourceError: there are no such data.
    """

    def __init__(self, bundle: Bundle, data: str, limit: int | None = None, seed: int = 0) -> None:
        self.bundle, self.task = bundle, bundle.task
        self.data, targets = _opened(data, self.task.arrays, bundle.manifest.name)
        whole = self.task.checked(targets, len(self.data))
        self.chosen = np.arange(len(self.data))
        if limit is not None and limit < len(self.chosen):
            self.chosen = np.sort(np.random.default_rng(0).permutation(self.chosen)[:limit])
        self.targets = whole[self.chosen]
        given = self.data.labels
        self.labels = None if given is None else np.asarray(given)[self.chosen]
        self.readings = Readings(self.data, self.chosen, seed, MOST_BYTES)
        self.model = Model(bundle)
        self._make = preprocessing(bundle.manifest.preprocess, bundle.manifest.input)
        self._frozen: dict[tuple[str, int], Array] = {}

    def prepared(self, readings: Array) -> Array:
        """Model inputs of readings."""
        samples = [self._make(Frame(reading, 0.0, k)) for k, reading in enumerate(readings)]
        return np.stack([sample for sample in samples if sample is not None])

    def shown(self, each: Visit, start: int, stop: int) -> Array:
        """Readings of frames ``start`` to ``stop`` of a visit."""
        items, choice = each.items[start:stop], each.choice[start:stop]
        found: Array | None = None
        for k in np.unique(choice):
            mine = np.flatnonzero(choice == k)
            change = each.corruptions[k] if each.corruptions else "none"
            part = self.readings.read(items[mine], change, each.severity)
            if found is None:
                found = np.empty((len(items), *part.shape[1:]), part.dtype)
            found[mine] = part
        assert found is not None
        return found

    def frozen(self, readings: Array) -> Array:
        """The source model's primary output."""
        session: InferSession = self.model.source
        primary = self.bundle.manifest.primary
        parts = [
            session.run(self.prepared(readings[k : k + CHUNK]))[primary]
            for k in range(0, len(readings), CHUNK)
        ]
        return np.concatenate(parts)


def _opened(text: str, names: tuple[str, ...], model: str) -> tuple[Dataset, Array]:
    """The data, and the array of them that holds the truth."""
    data = open_dataset(text)
    if data.kind == "sensor" and not data.windows:
        raise TtaError(
            f"{text} is a recording of single samples: make an .npz with windows and {names[0]}"
        )
    if not text.endswith(".npz"):
        if data.labels is None:
            raise TtaError(
                f"{text} has no truth for {model}: make an .npz with images and {names[0]}"
            )
        return data, np.asarray(data.labels)
    with np.load(os.path.expanduser(text), allow_pickle=False) as archive:
        truth = next((archive[n] for n in names if n in archive), None)
        held = ", ".join(archive.files)
    if truth is None:
        raise TtaError(
            f"{text} has no array {' or '.join(names)}, which {model} is judged by; it has {held}"
        )
    return data, truth


__all__ = ["TaskMaterial"]
