"""Cross-retrieval: whether the proposal's vectors find the frozen model's vectors of the same frames."""

from __future__ import annotations

import math

import numpy as np

from tta.evidence import Evidence

LEAST = 4  # frames below which nothing is said


class CrossRetrieval:
    """Share of frames whose nearest vector of the frozen model is that of another frame: 0..1.

    A gallery was made by the source model, so that an embedding that has turned away from it finds
    nothing there, however good it is in itself. Under harsh shift the frozen vectors of different frames
    fall together, and a good proposal leaves them as a bad one does, so it only reports; ``tta gallery``
    judges a state on labelled frames.
    """

    asks = frozenset({"embedding"})
    threshold = math.inf

    def figure(self, evidence: Evidence) -> float:
        """The share; nan for fewer than four frames."""
        if len(evidence) < LEAST:
            return math.nan
        old, new = (
            x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
            for x in (evidence.frozen_features, evidence.adapted_features)
        )
        return float(((new @ old.T).argmax(1) != np.arange(len(new))).mean())

    def says(self, figure: float) -> str:
        """One clause."""
        return f"{100 * figure:.0f} % of the frames are nearest to another frame's vector of the frozen model"
