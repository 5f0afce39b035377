"""One class a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tta.categorical import log_softmax
from tta.records import Array
from tta.tasks._plain import Plain


class Classify(Plain):
    """Logits ``(N, K)``; the answer is the largest of p = softmax.

    Answers agree where the class is the same; the error of a frame is 0 or 1 (top-1).
    """

    gives = frozenset({"scores", "class"})
    primary: ClassVar[str] = "logits"
    outputs: ClassVar[str] = "logits (N, classes)"
    measure: ClassVar[str] = "top-1 error"
    arrays: ClassVar[tuple[str, ...]] = ("labels", "targets", "y")

    @staticmethod
    def unfit(shape: tuple[int, ...], labels: int) -> str:
        """See ``Task``."""
        if len(shape) != 1:
            return f"a classifier's output is (N, classes), but this one is (N, {_axes(shape)})"
        return (
            f"{labels} labels for the {shape[-1]} classes"
            if labels and shape[-1] not in (labels, -1)
            else ""
        )

    @staticmethod
    def entropy(op: Any, outputs: Mapping[str, Any]) -> Any:
        """-Σ_k p_k·ln p_k of ``logits (N, K)``."""
        log_p = op.LogSoftmax(outputs["logits"], axis=-1)
        return op.Neg(op.ReduceSum(op.Mul(op.Exp(log_p), log_p), [-1], keepdims=0))

    def decode(self, output: Array) -> Any:
        """The most probable class."""
        return self.name_of(int(output.argmax()))

    def log_p(self, outputs: Array) -> Array:
        """``(n, K)``."""
        return log_softmax(outputs.reshape(len(outputs), -1))

    def confidence(self, outputs: Array) -> Array:
        """Probability of the most probable class."""
        found: Array = np.exp(self.log_p(outputs).max(1))
        return found

    def agreement(self, frozen: Array, adapted: Array) -> Array:
        """1 where the class is the same, else 0."""
        found: Array = (frozen.argmax(-1) == adapted.argmax(-1)).astype(float)
        return found

    def checked(self, targets: Array, n: int) -> Array:
        """Classes ``(n,)``."""
        return self.whole(targets, (n,), self._shape[-1])

    def error(self, outputs: Array, targets: Array) -> Array:
        """1 where the class is another; outputs that are not finite are wrong."""
        fine = np.isfinite(outputs).all(-1)
        return np.where(fine & (outputs.argmax(-1) == targets), 0.0, 1.0)


def _axes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
