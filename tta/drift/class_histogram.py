"""Which classes are predicted, against the source."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tta.drift._moving import share
from tta.drift._reference import reference
from tta.manifest import Manifest
from tta.records import Array, Step, View

SMALLEST = 1e-12  # keeps the logarithm of an empty class finite


class ClassHistogram:
    """Jensen-Shannon distance between the predicted classes of the stream and of the source, 0 to 1.

    √(½KL(p‖m) + ½KL(q‖m)) with m = (p+q)/2 and logarithms to base 2 (Endres & Schindelin, "A new metric for
    probability distributions", IEEE Trans. Information Theory 2003). The stream's histogram is a moving
    average that weighs each frame λ = 0.02, begun at the source's.
    """

    asks = frozenset({"class"})
    distance = True

    def __init__(
        self, manifest: Manifest, calibration: Mapping[str, Array], weight: float = 0.02
    ) -> None:
        source = reference(calibration, "class_histogram").get("histogram")
        self._source = None if source is None else np.asarray(source, np.float64)
        self._weight = weight
        self._shares: Array | None = None

    @staticmethod
    def reference(view: View, targets: Array | None) -> dict[str, Array]:
        """Share of each predicted class on the source."""
        classes = view.probabilities.shape[-1]
        if not classes:
            return {}
        counts = np.bincount(view.probabilities.argmax(-1), minlength=classes)
        return {"histogram": (counts / len(view)).astype(np.float32)}

    def observe(self, view: View) -> None:
        """Take in the frames' most probable classes."""
        source = self._source
        if source is None or view.probabilities.shape[-1] != len(source) or not len(view):
            return
        n = len(view)
        counts = np.bincount(view.probabilities.argmax(-1), minlength=len(source))
        weight = share(self._weight, n)
        self._shares = (1 - weight) * (source if self._shares is None else self._shares)
        self._shares += counts * (weight / n)

    def observe_step(self, step: Step) -> None:
        """Batch statistics say nothing of the classes."""

    def score(self) -> float:
        """The distance now."""
        if self._shares is None or self._source is None:
            return math.nan
        return jensen_shannon(self._shares, self._source)

    def layers(self) -> Mapping[str, float]:
        """None: classes belong to no layer."""
        return {}

    def reset(self) -> None:
        """Forget the stream."""
        self._shares = None


def jensen_shannon(p: Array, q: Array) -> float:
    """Jensen-Shannon distance of two distributions ``(K,)``, base 2.

    >>> import numpy as np
    >>> round(jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])), 6)
    1.0
    """
    both = np.array([p, q])
    both += SMALLEST
    middle = both[0] + both[1]
    divergence = 1 + float(np.vdot(both, np.log2(both / middle))) / 2
    return math.sqrt(max(divergence, 0.0))
