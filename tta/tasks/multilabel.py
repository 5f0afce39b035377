"""Several classes a frame, each there or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tta.records import Array
from tta.tasks._plain import Plain


class Multilabel(Plain):
    """Logits ``(N, K)``, p_k = σ(z_k); the answer is all classes with z_k > 0.

    The error of a frame is 1 - F₁ of its set of classes, 0 where both sets are empty. Answers p and q
    agree by exp(-D), D the mean over classes of the divergence BCE(p, q) - H(p). Confidence is the mean
    over classes of max(p, 1 - p).
    """

    gives = frozenset({"scores"})
    never_behind = frozenset({"Softmax", "Sigmoid"})
    primary: ClassVar[str] = "logits"
    outputs: ClassVar[str] = "logits (N, classes), each on its own"
    measure: ClassVar[str] = "1 - F1 of the labels"

    @staticmethod
    def unfit(shape: tuple[int, ...], labels: int) -> str:
        """See ``Task``."""
        if len(shape) != 1:
            axes = ", ".join(map(str, shape))
            return f"a multilabel output is (N, classes), but this one is (N, {axes})"
        return (
            f"{labels} labels for the {shape[-1]} classes"
            if labels and shape[-1] not in (labels, -1)
            else ""
        )

    @staticmethod
    def entropy(op: Any, outputs: Mapping[str, Any]) -> Any:
        """Mean over classes of the binary entropy ln(1 + eᶻ) - z·σ(z)."""
        z = outputs["logits"]
        each = op.Sub(op.Softplus(z), op.Mul(z, op.Sigmoid(z)))
        return op.ReduceMean(each, [-1], keepdims=0)

    def decode(self, output: Array) -> Any:
        """The classes that are there."""
        return [self.name_of(int(k)) for k in np.flatnonzero(output > 0)]

    def log_p(self, outputs: Array) -> Array:
        """Of each class of each frame, that it is not there and that it is: ``(n·K, 2)``."""
        z = np.asarray(outputs, np.float64).reshape(-1)
        return -np.logaddexp(0, np.stack([z, -z], 1))

    def used(self, outputs: Array) -> Array:
        """Mean probabilities of the classes and of none at all, over their sum: ``(K + 1,)``."""
        p = np.exp(self.log_p(outputs)[:, 1]).reshape(len(outputs), -1)
        mean = np.append(p.mean(0), np.prod(1 - p, 1).mean())
        found: Array = mean / mean.sum()
        return found

    def confidence(self, outputs: Array) -> Array:
        """Mean probability of what is said of each class."""
        found: Array = np.exp(self.log_p(outputs).max(1)).reshape(len(outputs), -1).mean(1)
        return found

    def agreement(self, frozen: Array, adapted: Array) -> Array:
        """exp(-D), see the class."""
        old, new = self.log_p(frozen), self.log_p(adapted)
        divergence = (np.exp(old) * (old - new)).sum(1).reshape(len(frozen), -1).mean(1)
        found: Array = np.exp(-np.maximum(divergence, 0))
        return found

    def checked(self, targets: Array, n: int) -> Array:
        """0 and 1, ``(n, K)``."""
        return self.whole(targets, (n, self._shape[-1]), 2)

    def error(self, outputs: Array, targets: Array) -> Array:
        """1 - F₁ of each frame."""
        said, true = outputs > 0, targets > 0
        both, all_ = (said & true).sum(1), said.sum(1) + true.sum(1)
        error = np.where(all_ > 0, 1 - 2 * both / np.maximum(all_, 1), 0.0)
        return np.where(np.isfinite(outputs).all(1), error, 1.0)

    def details(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Share of classes said wrongly, and of frames with any wrong."""
        wrong = (outputs > 0) != (targets > 0)
        return {"hamming": float(wrong.mean()), "any_wrong": float(wrong.any(1).mean())}
