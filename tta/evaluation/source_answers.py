"""The source model's probabilities on the data as they are, kept as ``source.npz`` beside the results."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tta.categorical import log_softmax
from tta.evaluation.cell import Material
from tta.records import Array
from tta.runtime.session import InferSession

CHUNK = 256  # items a run


@dataclass(frozen=True, slots=True)
class SourceAnswers:
    """What the frozen model says of each item, unchanged by any corruption.

    Attributes:
        probabilities: ``(n, K)``.
        labels: ``(n,)`` given class, -1 for none.
        names: of the classes, empty where they have none.
    """

    probabilities: Array
    labels: Array
    names: tuple[str, ...]

    def name(self, label: int) -> str:
        """Name of a class, its number where it has none."""
        return self.names[label] if 0 <= label < len(self.names) else str(label)


def source_answers(folder: Path, material: Material | None) -> SourceAnswers | None:
    """Those of a folder; where they are not there yet the source model is asked, or None without it."""
    path = folder / "source.npz"
    if not path.exists():
        if material is None:
            return None
        names = tuple(material.bundle.manifest.labels) or tuple(material.data.names)
        p = _asked(material).astype(np.float32)
        scratch = path.with_name(f".source.{os.getpid()}.npz")
        np.savez_compressed(
            scratch, probabilities=p, labels=material.labels, names=np.array(names, np.str_)
        )
        os.replace(scratch, path)
    with np.load(path, allow_pickle=False) as file:
        names = tuple(str(name) for name in file["names"])
        return SourceAnswers(file["probabilities"].astype(np.float64), file["labels"], names)


def _asked(material: Material) -> Array:
    infer, primary = InferSession(material.bundle), material.bundle.manifest.primary
    found = []
    for start in range(0, len(material.labels), CHUNK):
        items = np.arange(start, min(start + CHUNK, len(material.labels)))
        logits = infer.run(material.inputs(items, "none", 0))[primary]
        found.append(np.exp(log_softmax(logits)))
    return np.concatenate(found)


__all__ = ["SourceAnswers", "source_answers"]
