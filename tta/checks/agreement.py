"""Agreement: how many of the frozen model's sure answers the proposal changes."""

from __future__ import annotations

import math

import numpy as np

from tta.evidence import Evidence

SURE = 0.9  # probability from which the frozen model's answer counts as sure


class Agreement:
    """Share of frames whose answer changes, among those that the frozen model answers with p ≥ 0.9: 0..1.

    It only reports: under harsh shift source models are sure and wrong, so that a good state changes nearly
    all of their sure answers, as a bad one does.
    """

    threshold = math.inf

    def figure(self, evidence: Evidence) -> float:
        """The share; nan where the model is no classifier, or was sure of fewer than four frames."""
        if evidence.classes < 2:
            return math.nan
        sure = evidence.frozen_log_p.max(1) >= math.log(SURE)
        if sure.sum() < 4:
            return math.nan
        changed = evidence.frozen_log_p.argmax(1) != evidence.adapted_log_p.argmax(1)
        return float(np.mean(changed[sure]))

    def says(self, figure: float) -> str:
        """One clause."""
        return f"{100 * figure:.0f} % of the frozen model's sure answers change"
