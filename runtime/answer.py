"""What the model's outputs of one frame say."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tta.bundle import Bundle
from tta.records import Array, Prediction


def prediction(bundle: Bundle, outputs: Mapping[str, Array], latency_s: float) -> Prediction:
    """A prediction from one frame's outputs; a classifier's logits become probabilities."""
    logits = outputs[bundle.manifest.primary]
    probabilities, entropy = np.zeros(0, np.float32), float("nan")
    if bundle.manifest.task == "classify":
        shifted = logits - logits.max()
        exponential = np.exp(shifted)
        total = exponential.sum()
        probabilities = exponential / total
        entropy = float(np.log(total) - (probabilities * shifted).sum())
    return Prediction(outputs, probabilities, entropy, latency_s, "")
