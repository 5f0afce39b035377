"""Neighbours in the stream share their class, as in any video."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tta.evaluation.protocols import Setting, Visit, visit
from tta.simulation import Order
from tta.simulation import build as arrangement


class Correlated:
    """``correlated:0.1``, or ``correlated:sorted``: continual, with each visit's labels in runs.

    The number is δ of Gong et al., "NOTE: Robust continual test-time adaptation against temporal
    correlation", NeurIPS 2022, section 4; ``sorted`` has one class after another.
    """

    resets = "never"
    takes = "DELTA above 0, or correlated:sorted"

    def __init__(self, delta: str = "0.1") -> None:
        self._order: Order = arrangement(
            "order", delta if delta == "sorted" else f"dirichlet:{delta}"
        )

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """See ``EvaluationProtocol``."""
        labels = setting.labels[: setting.images]
        for k, corruption in enumerate(setting.corruptions):
            rng = np.random.default_rng([setting.seed, k])
            items = self._order.indices(setting.images, setting.images, labels, rng)
            yield visit(items, corruption, setting.severity, k == 0)
