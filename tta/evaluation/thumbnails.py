"""What single frames of finished cells looked like, kept small beside the results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tta.evaluation.cell import corruption_names
from tta.evaluation.material import Material
from tta.evaluation.picture import is_image, pixels
from tta.evaluation.protocols import Setting, Visit, build
from tta.evaluation.whole_file import write_arrays
from tta.records import Array

SIDE = 96  # longer side in pixels


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame: where it came in the stream of a cell; without a protocol, the item as it is."""

    item: int
    protocol: str = ""
    seed: int = 0
    visit: int = 0
    place: int = 0

    @property
    def key(self) -> str:
        """Its name in the file."""
        return f"{self.protocol} {self.seed} {self.visit} {self.place} {self.item}"


class Thumbnails:
    """The file ``shown.npz`` of a results folder.

    Without the data it gives what was kept; with them, what is missing is made and kept.

    Args:
        folder: of the results.
        material: the data, None where there are only the files.
    """

    def __init__(self, folder: Path, material: Material | None) -> None:
        self._path, self._material = folder / "shown.npz", material
        self._kept: dict[str, Array] = {}
        if self._path.exists():
            with np.load(self._path, allow_pickle=False) as file:
                self._kept = {name: file[name] for name in file.files}
        about = folder / "sweep.json"
        self._about: Mapping[str, Any] = (
            json.loads(about.read_text(encoding="utf-8")) if about.exists() else {}
        )
        self._visits: dict[tuple[str, int], list[Visit]] = {}

    def get(self, shot: Shot) -> Array | None:
        """Picture as uint8 ``(h, w[, 3])``, or a sensor's window ``(C, T)``; None where it is not known."""
        if shot.key not in self._kept and self._material is not None:
            reading = self._reading(self._material, shot)
            if reading is not None:
                small = pixels(reading, SIDE) if is_image(reading) else reading.astype(np.float32)
                self._kept[shot.key] = small
        return self._kept.get(shot.key)

    def save(self, shots: Iterable[Shot]) -> None:
        """Keep these and no others."""
        wanted = [shot.key for shot in shots]
        if self._material is None:
            return
        write_arrays(self._path, {key: self._kept[key] for key in wanted if key in self._kept})

    def _reading(self, material: Material, shot: Shot) -> Array | None:
        """The frame as a source would give it; None where the data or the order are others."""
        if not shot.protocol:
            place = int(np.searchsorted(material.chosen, shot.item))
            if place == len(material.chosen) or material.chosen[place] != shot.item:
                return None
            return self._shown(material, place, "none", 0)
        visits = self._stream(material, shot.protocol, shot.seed)
        if shot.visit >= len(visits) or shot.place >= len(visits[shot.visit].items):
            return None
        visit = visits[shot.visit]
        place = int(visit.items[shot.place])
        if place >= len(material.chosen) or material.chosen[place] != shot.item:
            return None
        change = visit.corruptions[visit.choice[shot.place]] if visit.corruptions else "none"
        return self._shown(material, place, change, visit.severity)

    def _shown(self, material: Material, place: int, change: str, severity: int) -> Array:
        found: Array = material.shown(np.array([place]), change, severity)[0]
        return found

    def _stream(self, material: Material, protocol: str, seed: int) -> list[Visit]:
        if (protocol, seed) not in self._visits:
            setting = Setting(
                material.labels,
                corruption_names(self._about["corruptions"]),
                self._about["severity"],
                len(material.labels),
                seed,
                self._about["brief"],
            )
            self._visits[protocol, seed] = list(build(protocol).visits(setting))
        return self._visits[protocol, seed]


__all__ = ["Shot", "Thumbnails"]
