"""How far the state in force is from the source."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tta.manifest import Manifest
from tta.records import Array, Step, View


class ParameterDistance:
    """‖θ - θ₀‖ / ‖θ₀‖ over the slots of the state in force, and the same by layer.

    It says how far adaptation has gone, not how far the stream has: the distance that elastic anchors bound
    (Niu et al., "Efficient test-time model adaptation without forgetting", ICML 2022, section 4.2).
    """

    def __init__(self, manifest: Manifest, calibration: Mapping[str, Array]) -> None:
        self._owner = {slot.name: slot.layer for slot in manifest.slots}
        self._layers: dict[str, float] = {}
        self._value = math.nan

    def observe(self, view: View) -> None:
        """Frames say nothing of the state."""

    def observe_step(self, step: Step) -> None:
        """Nor do batch statistics."""

    def observe_state(self, slots: Mapping[str, Array], source: Mapping[str, Array]) -> None:
        """Take in the slots of the state in force, and those of the source."""
        moved: dict[str, float] = {}
        size: dict[str, float] = {}
        for name, old in source.items():
            layer = self._owner.get(name, name)
            base = np.asarray(old, np.float64)
            new = slots.get(name, old)
            d = 0.0 if new is old else float(((new - base) ** 2).sum())
            moved[layer] = moved.get(layer, 0.0) + d
            size[layer] = size.get(layer, 0.0) + float((base**2).sum())
        self._layers = {k: math.sqrt(moved[k] / (size[k] or 1.0)) for k in moved if moved[k]}
        self._value = math.sqrt(sum(moved.values()) / (sum(size.values()) or 1.0))

    def score(self) -> float:
        """The distance now."""
        return self._value

    def layers(self) -> Mapping[str, float]:
        """None in reports: they name what the stream does to a layer. See ``by_layer``."""
        return {}

    @property
    def by_layer(self) -> Mapping[str, float]:
        """The distance of each layer that moved."""
        return dict(self._layers)

    def reset(self) -> None:
        """Forget the state."""
        self._value, self._layers = math.nan, {}
