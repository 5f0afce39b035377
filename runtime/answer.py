"""What the model's outputs of one frame say."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.records import Array, Prediction

NOTHING = np.zeros(0, np.float32)


def prediction(bundle: Bundle, outputs: Mapping[str, Array], latency_s: float) -> Prediction:
    """A prediction from one frame's outputs; a classifier's logits become probabilities."""
    primary = outputs[bundle.manifest.primary]
    if bundle.manifest.task == "classify":
        shifted = primary - primary.max()
        exponential = np.exp(shifted)
        total = exponential.sum()
        probabilities = exponential / total
        entropy = float(np.log(total) - (probabilities * shifted).sum())
        return Prediction(outputs, probabilities, entropy, latency_s, "")
    task = bundle.task
    entropy, sure = (
        float(v[0]) for v in (task.entropies(primary[None]), task.confidence(primary[None]))
    )
    decoded = partial(task.decode, primary)
    return Prediction(outputs, NOTHING, entropy, latency_s, "", sure=sure, decoded=decoded)


def answered(found: Prediction) -> Any:
    """The answer in JSON's types: a class number, or what the task decodes; None where there is neither."""
    if found.probabilities.size:
        return found.label
    return None if found.decoded is None else found.decoded()


def in_words(answer: Any) -> str:
    """An answer in a few words.

    >>> in_words({"shirt": 0.25, "background": 0.75}), in_words([0.123456])
    ('shirt 0.25, background 0.75', '0.1235')
    """
    if answer is None:
        return ""
    if isinstance(answer, float):
        return f"{answer:.4g}"
    if isinstance(answer, dict):
        return ", ".join(f"{key} {in_words(value)}" for key, value in answer.items())
    if isinstance(answer, list):
        return "; ".join(map(in_words, answer)) or "nothing"
    return str(answer)
