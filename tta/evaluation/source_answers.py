"""The source model's probabilities on the data as they are, kept as ``source.npz`` beside the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tta.errors import TtaError
from tta.evaluation.material import Material
from tta.evaluation.whole_file import write_arrays
from tta.records import Array


@dataclass(frozen=True, slots=True)
class SourceAnswers:
    """What the frozen model says of each item that is used, unchanged by any corruption.

    Attributes:
        items: ``(n,)`` numbers in the data, rising.
        probabilities: ``(n, K)``.
        labels: ``(n,)`` given class.
        names: of the classes, empty where they have none.
    """

    items: Array
    probabilities: Array
    labels: Array
    names: tuple[str, ...]

    def name(self, label: int) -> str:
        """Name of a class, its number where it has none."""
        return self.names[label] if 0 <= label < len(self.names) else str(label)


def source_answers(folder: Path, material: Material | None) -> SourceAnswers | None:
    """Those of a folder; where they are not there yet the source model is asked, or None without it.

    None as well where they are too many to be kept unasked: then ``--keep-probabilities`` keeps them.
    """
    path = folder / "source.npz"
    if not path.exists():
        if material is None:
            return None
        try:
            p = material.probabilities()
        except TtaError:
            return None
        material.answers.save()
        names = tuple(material.bundle.manifest.labels) or tuple(material.data.names)
        kept = {"items": material.chosen, "probabilities": p, "labels": material.labels}
        write_arrays(path, {**kept, "names": np.array(names, np.str_)})
    with np.load(path, allow_pickle=False) as file:
        p = file["probabilities"].astype(np.float64)
        names = tuple(str(name) for name in file["names"])
        return SourceAnswers(file["items"], p / p.sum(1, keepdims=True), file["labels"], names)


__all__ = ["SourceAnswers", "source_answers"]
