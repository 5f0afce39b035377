"""Class collapse: an adapted model that answers few classes where the source model saw several."""

from __future__ import annotations

import math

import numpy as np

from tta.evidence import Evidence
from tta.records import Array


class Collapse:
    """H(mean p of the frozen model) - H(mean p of the proposal), in nats: ln of the classes lost.

    H is the entropy of the mean prediction (as the task has it: of a segmenter over all positions), so
    exp(H) counts the classes in use, and ln 2 is half of them. Entropy minimization collapses by sending
    every frame to one class (Niu et al., "Towards stable test-time adaptation in dynamic wild world",
    ICLR 2023, section 3); a stretch that truly holds one class has a frozen view with one class too, and
    passes.
    """

    asks = frozenset({"scores"})
    threshold = math.log(2)

    def figure(self, evidence: Evidence) -> float:
        """The log of the effective classes lost; nan where the model gives no class scores."""
        if evidence.classes < 2:
            return math.nan
        return _diversity(evidence.frozen_used) - _diversity(evidence.adapted_used)

    def says(self, figure: float) -> str:
        """One clause."""
        return f"predictions collapse: {math.exp(-figure):.2f} of the frozen model's classes remain"


def _diversity(mean: Array) -> float:
    return float(-(mean * np.log(mean + 1e-12)).sum())
