"""What tasks without class scores have in common; tasks with them replace it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tta.errors import TtaError
from tta.manifest import Manifest
from tta.records import Array
from tta.tasks import known


class Plain:
    """Defaults: no class scores, no confidence, no details."""

    gives: ClassVar[frozenset[str]] = frozenset()
    share: ClassVar[bool] = True
    never_behind: ClassVar[frozenset[str]] = frozenset()
    arrays: ClassVar[tuple[str, ...]] = ("targets", "labels", "y")

    def __init__(self, manifest: Manifest, calibration: Mapping[str, Array]) -> None:
        self._labels, self._name = manifest.labels, manifest.name
        self._shape = manifest.outputs[manifest.primary]
        self._known = known(calibration)

    @staticmethod
    def reference(outputs: Array, targets: Array | None) -> dict[str, Array]:
        """Nothing."""
        return {}

    @staticmethod
    def entropy(op: Any, outputs: Mapping[str, Any]) -> Any:
        """There is none.

        Raises:
            TtaError: always.
        """
        raise TtaError("answers without class scores have no entropy: take the objective actmad")

    def log_p(self, outputs: Array) -> Array:
        """None."""
        return np.zeros((len(outputs), 0))

    def entropies(self, outputs: Array) -> Array:
        """Of what ``log_p`` says, the mean over each frame's decisions."""
        log_p = self.log_p(outputs)
        if not log_p.shape[1]:
            return np.full(len(outputs), np.nan)
        entropy = -(np.exp(log_p) * log_p).sum(1)
        found: Array = entropy.reshape(len(outputs), -1).mean(1)
        return found

    def used(self, outputs: Array) -> Array:
        """Mean probabilities of all decisions."""
        log_p = self.log_p(outputs)
        return np.exp(log_p).mean(0) if log_p.size else np.zeros(0)

    def confidence(self, outputs: Array) -> Array:
        """None."""
        return np.full(len(outputs), np.nan)

    def details(self, outputs: Array, targets: Array) -> dict[str, float]:
        """None."""
        return {}

    def name_of(self, k: int) -> str | int:
        """A class by its name, or its number where it has none."""
        return self._labels[k] if k < len(self._labels) else k

    def whole(self, targets: Array, shape: tuple[int, ...], top: int) -> Array:
        """Targets that are whole numbers of that shape, 0 to top - 1.

        Raises:
            TtaError: they are not.
        """
        y = np.asarray(targets)
        if y.shape != shape or y.dtype.kind not in "iub":
            raise TtaError(
                f"targets of {self._name} are whole numbers {shape}, but these are {y.dtype}{y.shape}"
            )
        y = y.astype(np.int64)
        if ((y < 0) | (y >= top)).any():
            bad = int(y[(y < 0) | (y >= top)].reshape(-1)[0])
            raise TtaError(
                f"a target is {bad}, but those of {self._name} are 0 to {top - 1}: were they made for "
                "another model?"
            )
        return y


def mean_finite(values: Array) -> float:
    """Mean of the finite values, nan where there are none."""
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if kept.size else float("nan")
