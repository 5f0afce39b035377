"""Labelled data and the source model's answers to them, shared by the cells of one bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tta.bundle import Bundle
from tta.errors import TtaError
from tta.evaluation.frozen import Frozen
from tta.evaluation.protocols import Visit
from tta.evaluation.readings import MOST_BYTES, Readings
from tta.records import Array, Frame
from tta.runtime.datasets import Dataset, open_dataset
from tta.runtime.model import Model
from tta.runtime.preprocess import build as preprocessing
from tta.runtime.session import InferSession

HASHED = 64  # items whose bytes go into the hash of the data
CHUNK = 256  # frames that the source model is asked at once


class Material:
    """Labelled data and the source model's answers to them.

    Items are counted within those that are used, 0 to count - 1; ``chosen`` has their numbers in the
    data. Item count + k is item k cut up, so that it shows no class: its label is -1. Items without a
    label are not used.

    Args:
        bundle: of a classifier.
        data: what ``sim://`` takes, or a ``Dataset`` of images or windows.
        limit: so many items only: the same ones each time, drawn without regard to their order.
        seed: of what chance does to an image; the same image looks the same in all protocols.
        folder: where the source model's answers are kept; None keeps them in memory.
        probabilities: keep those of all classes even where they are many.
        most_bytes: bound of the changed items that are kept in memory.

    Raises:
        TtaError: no classifier, or data without labels.
        SourceError: there are no such data.
    """

    def __init__(
        self,
        bundle: Bundle,
        data: str | Dataset,
        limit: int | None = None,
        seed: int = 0,
        *,
        folder: Path | None = None,
        probabilities: bool = False,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        if bundle.manifest.task != "classify":
            raise TtaError(
                f"methods are judged by their errors on classes, but the task of {bundle.manifest.name} "
                f"is {bundle.manifest.task}"
            )
        self.bundle = bundle
        self.data = open_dataset(data) if isinstance(data, str) else data
        if self.data.kind == "sensor" and not self.data.windows:
            raise TtaError(
                f"{self.data.name} is a recording of single samples: cut it into labelled windows first "
                "(a .npz with windows and labels)"
            )
        given = self.data.labels
        known = np.flatnonzero(np.asarray(given) >= 0) if given is not None else np.zeros(0, int)
        if given is None or not known.size:
            raise TtaError(f"{self.data.name} has no labels, so no method can be judged on it")
        if limit is not None and limit < len(known):
            known = np.sort(np.random.default_rng(0).permutation(known)[:limit])
        self.chosen = known
        self.labels = np.asarray(given, np.int64)[known]
        classes = bundle.manifest.outputs[bundle.manifest.primary][-1]
        if self.labels.max() >= classes:
            raise TtaError(
                f"{self.data.name} has a class {self.labels.max()}, but {bundle.manifest.name} tells "
                f"{classes} apart: these data are not the model's"
            )
        self.readings = Readings(self.data, known, seed, most_bytes)
        self.hash = self._hash()  # of name, numbers, labels and evenly spaced items
        self._infer: InferSession | None = None
        self._model: Model | None = None
        self._make = preprocessing(bundle.manifest.preprocess, bundle.manifest.input)
        whose = f"{bundle.hash}\0{self.hash}\0{seed}"
        self.answers = Frozen(whose, len(known), int(classes or 0), folder, probabilities)

    def _hash(self) -> str:
        count = len(self.chosen)
        some = np.linspace(0, count - 1, min(count, HASHED)).astype(int)
        digest = hashlib.sha256(f"{self.data.name}\0{count}\0".encode())
        for part in (self.chosen, self.labels, self.readings.read(some, "none", 0)):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    @property
    def model(self) -> Model:
        """The bundle's sessions, opened when they are asked for."""
        if self._model is None:
            self._model = Model(self.bundle)
        return self._model

    def label(self, items: Array) -> Array:
        """Classes ``(n,)``, -1 of what was cut up."""
        count = len(self.labels)
        found: Array = np.where(items < count, self.labels[items % count], -1)
        return found

    def shown(self, items: Array, change: str, severity: int) -> Array:
        """Readings ``(n, ...)`` of some items under a change, as a source would give them."""
        count = len(self.labels)
        known = items < count
        if known.all():
            return self.readings.read(items, change, severity)
        parts = [(known, False), (~known, True)]
        found: Array | None = None
        for mask, unseen in parts:
            if not mask.any():
                continue
            part = self.readings.read(items[mask] % count, change, severity, unseen)
            found = np.empty((len(items), *part.shape[1:]), part.dtype) if found is None else found
            found[mask] = part
        assert found is not None
        return found

    def inputs(self, items: Array, change: str, severity: int) -> Array:
        """Model inputs ``(n, ...)`` of some items under a change."""
        return self.prepared(self.shown(items, change, severity))

    def prepared(self, readings: Array) -> Array:
        """Model inputs of readings."""
        samples = [self._make(Frame(reading, 0.0, k)) for k, reading in enumerate(readings)]
        return np.stack([sample for sample in samples if sample is not None])

    def frozen(self, items: Array, change: str, severity: int) -> tuple[Array, Array]:
        """The source model's classes and confidences, each item asked once."""
        count = len(self.labels)
        classes, confidence = np.empty(len(items), int), np.empty(len(items), np.float32)
        for unseen in (False, True):
            mine = np.flatnonzero((items >= count) == unseen)
            if mine.size:
                places = items[mine] % count
                said = self.answers.ask(
                    (change, severity, unseen), places, self._asker(change, severity, unseen)
                )
                classes[mine], confidence[mine] = said.classes[places], said.confidence[places]
        return classes, confidence

    def probabilities(self, change: str = "none", severity: int = 0) -> Array:
        """The source model's probabilities ``(count, K)`` float16 of all items under a change.

        Raises:
            TtaError: they are many, and nobody asked to keep them.
        """
        if not self.answers.keeps:
            raise TtaError(
                "the probabilities of these data were not kept: add --keep-probabilities"
            )
        everything = np.arange(len(self.labels))
        said = self.answers.ask(
            (change, severity, False), everything, self._asker(change, severity, False)
        )
        assert said.probabilities is not None
        return said.probabilities

    def _asker(self, change: str, severity: int, unseen: bool) -> Callable[[Array], Array]:
        def logits(places: Array) -> Array:
            if self._infer is None:
                self._infer = InferSession(self.bundle)
            found = []
            for start in range(0, len(places), CHUNK):
                readings = self.readings.read(
                    places[start : start + CHUNK], change, severity, unseen
                )
                outputs = self._infer.run(self.prepared(readings))
                found.append(outputs[self.bundle.manifest.primary])
            return np.concatenate(found)

        return logits

    def met(self, each: Visit, start: int, stop: int) -> tuple[Array, tuple[Array, Array]]:
        """Readings of frames ``start`` to ``stop`` of a visit, and what the source model says of them."""
        items, choice = each.items[start:stop], each.choice[start:stop]
        readings: Array | None = None
        classes, confidence = np.empty(len(items), int), np.empty(len(items), np.float32)
        for k in np.unique(choice):
            mine = np.flatnonzero(choice == k)
            change = each.corruptions[k] if each.corruptions else "none"
            part = self.shown(items[mine], change, each.severity)
            if readings is None:
                readings = np.empty((len(items), *part.shape[1:]), part.dtype)
            readings[mine] = part
            classes[mine], confidence[mine] = self.frozen(items[mine], change, each.severity)
        assert readings is not None
        return readings, (classes, confidence)


__all__ = ["Material"]
