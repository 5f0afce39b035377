"""Objects, each with a box, a class and a score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tta.errors import TtaError
from tta.records import Array
from tta.tasks._plain import Plain

SURE = 0.5  # score from which a box is an answer
SAME = 0.5  # intersection over union from which two boxes are of one object
BOX = 4


class Detect(Plain):
    """M candidates ``(N, M, 4 + K)``: middle x, y, width, height in pixels of the input, and K logits.

    A candidate's score for a class is σ of its logit; those of 0.5 and more are answers, but of two of a
    class that overlap by IoU > 0.5 the lower goes (non-maximum suppression). A true box is found where an
    answer of its class overlaps it by IoU ≥ 0.5, best scores first, each once. The error of a frame is 1
    - F₁, 0 where there is nothing and nothing was said; answers agree by the same F₁ between them.
    """

    gives = frozenset({"scores", "boxes"})
    primary: ClassVar[str] = "boxes"
    outputs: ClassVar[str] = "boxes (N, candidates, 4 + classes): middle, size, class logits"
    measure: ClassVar[str] = "1 - F1 at IoU 0.5"
    arrays: ClassVar[tuple[str, ...]] = ("targets", "boxes")

    @staticmethod
    def unfit(shape: tuple[int, ...], labels: int) -> str:
        """See ``Task``."""
        if len(shape) != 2 or 0 <= shape[1] <= BOX:
            axes = ", ".join(map(str, shape))
            return (
                "a detector's output is (N, candidates, 4 + classes): middle x, y, width, height in pixels, "
                f"and class logits, but this one is (N, {axes})"
            )
        classes = shape[1] - BOX
        return f"{labels} labels for the {classes} classes" if labels and classes != labels else ""

    @staticmethod
    def entropy(op: Any, outputs: Mapping[str, Any]) -> Any:
        """Mean over candidates and classes of the binary entropy ln(1 + eᶻ) - z·σ(z)."""
        z = outputs["boxes"]
        columns = int(z.shape[-1])
        weight = np.zeros(columns, np.float32)  # boxes are no scores
        weight[BOX:] = 1 / (columns - BOX)
        scores = op.Mul(z, np.float32(weight > 0))
        each = op.Sub(op.Softplus(scores), op.Mul(scores, op.Sigmoid(scores)))
        return op.ReduceMean(op.ReduceSum(op.Mul(each, weight), [2], keepdims=0), [1], keepdims=0)

    def decode(self, output: Array) -> Any:
        """``[{"box": [x1, y1, x2, y2], "class": ..., "score": ...}]``, best first."""
        boxes, classes, scores = found(output)
        return [
            {
                "box": [round(float(v), 2) for v in b],
                "class": self.name_of(int(c)),
                "score": float(s),
            }
            for b, c, s in zip(boxes, classes, scores)
        ]

    def log_p(self, outputs: Array) -> Array:
        """Of each candidate and class, that it is none and that it is one: ``(n·M·K, 2)``."""
        z = np.asarray(outputs[..., BOX:], np.float64).reshape(-1)
        return -np.logaddexp(0, np.stack([z, -z], 1))

    def used(self, outputs: Array) -> Array:
        """Mean over frames of the best score of each class and of none, over their sum: ``(K + 1,)``."""
        best = _sigmoid(outputs[..., BOX:]).max(1)
        mean = np.append(best.mean(0), (1 - best.max(1)).mean())
        whole: Array = mean / mean.sum()
        return whole

    def confidence(self, outputs: Array) -> Array:
        """Mean score of a frame's answers; of a frame without any, 1 less the best score."""
        scores = _sigmoid(outputs[..., BOX:])
        flat = scores.reshape(len(scores), -1)
        sure = flat >= SURE
        mean = (flat * sure).sum(1) / np.maximum(sure.sum(1), 1)
        certain: Array = np.where(sure.any(1), mean, 1 - flat.max(1))
        return certain

    def agreement(self, frozen: Array, adapted: Array) -> Array:
        """F₁ of the one's answers against the other's."""
        return np.array([1 - _missed(found(b), found(a)[:2]) for a, b in zip(frozen, adapted)])

    def checked(self, targets: Array, n: int) -> Array:
        """Boxes ``(n, T, 5)``: x1, y1, x2, y2, class; class -1 where a frame has fewer than T."""
        y = np.asarray(targets, np.float64)
        if y.ndim != 3 or y.shape[0] != n or y.shape[2] != BOX + 1:
            raise TtaError(
                f"targets of {self._name} are boxes ({n}, T, 5): x1, y1, x2, y2, class, -1 for none, "
                f"but these are {y.shape}"
            )
        classes = self._shape[-1] - BOX
        if ((y[..., BOX] < -1) | (y[..., BOX] >= classes)).any():
            raise TtaError(f"classes of {self._name} are 0 to {classes - 1}, -1 for no box")
        return y

    def error(self, outputs: Array, targets: Array) -> Array:
        """1 - F₁ of each frame."""
        return np.array(
            [
                _missed(found(out), _true(t)) if np.isfinite(out).all() else 1.0
                for out, t in zip(outputs, targets)
            ]
        )

    def details(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Precision and recall over all frames."""
        hits = said = true = 0
        for out, t in zip(outputs, targets):
            answer, truth = found(out), _true(t)
            hits += _matched(answer, truth)
            said, true = said + len(answer[0]), true + len(truth[0])
        return {"precision": hits / max(said, 1), "recall": hits / max(true, 1)}


def found(output: Array) -> tuple[Array, Array, Array]:
    """Boxes ``(m, 4)`` as corners, classes and scores ``(m,)`` of one frame ``(M, 4 + K)``, best first."""
    scores = _sigmoid(output[:, BOX:])
    place, classes = np.nonzero(scores >= SURE)
    score = scores[place, classes]
    order = np.argsort(-score, kind="stable")
    place, classes, score = place[order], classes[order], score[order]
    middle, half = output[place, :2], np.maximum(output[place, 2:BOX], 0) / 2
    boxes = np.concatenate([middle - half, middle + half], 1)
    kept: list[int] = []
    over = overlap(boxes, boxes)
    for k in range(len(boxes)):
        if all(classes[j] != classes[k] or over[j, k] <= SAME for j in kept):
            kept.append(k)
    return boxes[kept], classes[kept], score[kept]


def overlap(a: Array, b: Array) -> Array:
    """Intersection over union ``(m, n)`` of boxes ``(m, 4)`` and ``(n, 4)`` as corners.

    >>> overlap(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2]])).round(3).tolist()
    [[0.333]]
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = np.prod(np.maximum(high - low, 0), -1)
    areas = [np.prod(np.maximum(c[:, 2:] - c[:, :2], 0), -1) for c in (a, b)]
    union = areas[0][:, None] + areas[1] - inside
    share: Array = inside / np.maximum(union, 1e-12)
    return share


def _true(target: Array) -> tuple[Array, Array]:
    there = target[:, BOX] >= 0
    return target[there, :BOX], target[there, BOX]


def _matched(answer: tuple[Array, Array, Array], truth: tuple[Array, Array]) -> int:
    """Answers that find a true box, best scores first, each box once."""
    over = overlap(answer[0], truth[0]) * (answer[1][:, None] == truth[1])
    taken: set[int] = set()
    for row in over:
        for k in np.argsort(-row):
            if row[k] < SAME:
                break
            if int(k) not in taken:
                taken.add(int(k))
                break
    return len(taken)


def _missed(answer: tuple[Array, Array, Array], truth: tuple[Array, Array]) -> float:
    total = len(answer[0]) + len(truth[0])
    return 1 - 2 * _matched(answer, truth) / total if total else 0.0


def _sigmoid(z: Array) -> Array:
    found: Array = np.exp(-np.logaddexp(0, -np.asarray(z, np.float64)))
    return found
