"""A class at each position of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tta.categorical import log_softmax
from tta.records import Array
from tta.tasks._plain import Plain, mean_finite

MOST = 4096  # positions of a frame that entropy, confidence and agreement are taken from
SMALL, LARGE = 0.04, 0.12  # share of the frame below which an object is small, above which large


class Segment(Plain):
    """Logits ``(N, K, H, W)``, softmax over K; class 0 is the background.

    The error of a frame is the mean of 1 - dice_k over the classes k ≥ 1 that the truth has there, with
    dice_k = 2|A ∩ B|/(|A| + |B|); where it has none, it is 0 if the answer has none either, else 1. It is
    also given by size of the object, since a loss that averages over positions hides small ones (Kumar et
    al., "SeaBird: segmentation in bird's view with dice loss", CVPR 2024). Two answers agree by their
    soft dice, 2·Σ p·q/(Σ p² + Σ q²) over the positions of all classes.
    """

    gives = frozenset({"scores", "map"})
    never_behind = frozenset({"Softmax", "Sigmoid"})
    primary: ClassVar[str] = "logits"
    outputs: ClassVar[str] = "logits (N, classes, H, W), class 0 the background"
    measure: ClassVar[str] = "1 - dice"
    arrays: ClassVar[tuple[str, ...]] = ("targets", "masks")

    @staticmethod
    def unfit(shape: tuple[int, ...], labels: int) -> str:
        """See ``Task``."""
        if len(shape) != 3 or shape[0] in (0, 1):
            axes = ", ".join(map(str, shape))
            return (
                f"a segmenter's output is (N, classes, H, W) with 2 classes or more, background among them, "
                f"but this one is (N, {axes})"
            )
        return (
            f"{labels} labels for the {shape[0]} classes"
            if labels and shape[0] not in (labels, -1)
            else ""
        )

    @staticmethod
    def entropy(op: Any, outputs: Mapping[str, Any]) -> Any:
        """Mean over positions of -Σ_k p_k·ln p_k."""
        log_p = op.LogSoftmax(outputs["logits"], axis=1)
        each = op.ReduceSum(op.Mul(op.Exp(log_p), log_p), [1], keepdims=0)
        return op.Neg(op.ReduceMean(each, [1, 2], keepdims=0))

    def decode(self, output: Array) -> Any:
        """Share of the frame by class, of those that are there."""
        counts = np.bincount(output.argmax(0).reshape(-1), minlength=len(output))
        total = counts.sum()
        return {str(self.name_of(int(k))): float(counts[k] / total) for k in np.flatnonzero(counts)}

    def log_p(self, outputs: Array) -> Array:
        """Of each position, or of ``MOST`` on an even grid where there are more, ``(n·m, K)``."""
        every = max(1, math.isqrt(outputs.shape[2] * outputs.shape[3] // MOST))
        some = outputs[:, :, every // 2 :: every, every // 2 :: every]
        return log_softmax(np.moveaxis(some, 1, -1).reshape(-1, outputs.shape[1]))

    def confidence(self, outputs: Array) -> Array:
        """Mean over positions of the probability of the most probable class."""
        found: Array = np.exp(self.log_p(outputs).max(1)).reshape(len(outputs), -1).mean(1)
        return found

    def agreement(self, frozen: Array, adapted: Array) -> Array:
        """Soft dice of the two, see the class."""
        p, q = (np.exp(self.log_p(o)).reshape(len(o), -1) for o in (frozen, adapted))
        found: Array = 2 * (p * q).sum(1) / ((p * p).sum(1) + (q * q).sum(1))
        return found

    def checked(self, targets: Array, n: int) -> Array:
        """Classes ``(n, H, W)``."""
        size = tuple(s if s > 0 else t for s, t in zip(self._shape[1:], np.shape(targets)[1:]))
        return self.whole(targets, (n, *size), self._shape[0])

    def error(self, outputs: Array, targets: Array) -> Array:
        """1 - dice of each frame, see the class."""
        wrong, _ = _objects(outputs, targets)
        there = np.isfinite(wrong)
        error = np.where(there, wrong, 0).sum(1) / np.maximum(there.sum(1), 1)
        false = (outputs.argmax(1) > 0).any((1, 2)).astype(float)
        error = np.where(there.any(1), error, false)
        return np.where(np.isfinite(outputs).all((1, 2, 3)), error, 1.0)

    def details(self, outputs: Array, targets: Array) -> dict[str, float]:
        """1 - dice of small, medium and large objects, and the share of positions with the wrong class."""
        wrong, size = _objects(outputs, targets)
        sizes = {
            "small": size < SMALL,
            "medium": (size >= SMALL) & (size <= LARGE),
            "large": size > LARGE,
        }
        found = {name: mean_finite(wrong[mine]) for name, mine in sizes.items()}
        return {**found, "positions": float((outputs.argmax(1) != targets).mean())}


def _objects(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """1 - dice ``(n, K - 1)`` of the classes that the truth has, nan elsewhere, and their shares."""
    classes = np.arange(1, outputs.shape[1])[:, None, None]
    said, true = (a[:, None] == classes for a in (outputs.argmax(1), targets))
    size = true.mean((2, 3))
    total = said.mean((2, 3)) + size
    dice = 2 * (said & true).mean((2, 3)) / np.where(total > 0, total, 1)
    return np.where(size > 0, 1 - dice, np.nan), size
