"""Agreement: how many of the frozen model's sure answers the proposal changes."""

from __future__ import annotations

import math

import numpy as np

from tta.evidence import Evidence

SURE = 0.9  # probability from which the frozen model's answer counts as sure


class Agreement:
    """How far answers change, among those that the frozen model gives with confidence ≥ 0.9: 0..1.

    It is 1 less the mean agreement as the task has it: of a classifier the share of frames whose class
    changes, of a segmenter soft dice. Where answers have no confidence all frames count.

    It only reports: under harsh shift source models are sure and wrong, so that a good state changes nearly
    all of their sure answers, as a bad one does.
    """

    threshold = math.inf

    def figure(self, evidence: Evidence) -> float:
        """1 less the agreement; nan where the model was sure of fewer than four frames."""
        confidence = evidence.frozen_confidence
        sure = (confidence >= SURE) | np.isnan(confidence)
        if sure.sum() < 4:
            return math.nan
        return 1 - float(np.mean(evidence.agreement[sure]))

    def says(self, figure: float) -> str:
        """One clause."""
        return f"{100 * figure:.0f} % of what the frozen model is sure of changes"
