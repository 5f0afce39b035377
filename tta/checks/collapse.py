"""Class collapse: an adapted model that answers one class where the source model saw several."""

from __future__ import annotations

import numpy as np

from tta.records import Array, Step

VETO = 0.5  # share of the frozen view's class diversity that must remain


class Collapse:
    """exp(H(mean p)) of the adapted batch over that of the frozen view: effective classes kept, 0..1.

    H is the entropy of the mean prediction, so exp(H) counts the classes in use. Entropy minimization
    collapses by sending every frame to one class (Niu et al., "Towards stable test-time adaptation in
    dynamic wild world", ICLR 2023, section 3); a batch that truly holds one class has a frozen view
    with one class too, and passes.
    """

    def figure(self, adapted: Step, frozen: Step, primary: str) -> float:
        """Share of the frozen view's effective classes, capped at 1."""
        ours = _classes(adapted.outputs[primary])
        theirs = _classes(frozen.outputs[primary])
        return float(min(1.0, ours / theirs))

    def veto(self, figure: float) -> str:
        """Why the commit must not happen, empty if it may."""
        if figure >= VETO:
            return ""
        return f"predictions collapse: {figure:.2f} of the frozen model's classes remain"


def _classes(logits: Array) -> float:
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(-1, keepdims=True)
    p = np.exp(shifted)
    mean = (p / p.sum(-1, keepdims=True)).reshape(-1, p.shape[-1]).mean(0)
    return float(np.exp(-(mean * np.log(mean + 1e-12)).sum()))
