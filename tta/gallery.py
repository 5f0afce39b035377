"""Galleries of embeddings: whether stored vectors are valid for a changed model, and their repair.

Stored vectors outlive the model that made them: it adapts, or is replaced. Cross-retrieval asks the
question that counts, whether queries of the new model find their class among vectors of the old one (Zhou
et al., "BT²: backward-compatible training with basis transformation", 2023, compares new/old with
old/old). Where they do not, but the two spaces differ by little more than a rotation, the best one on
frames that both have seen mends it (orthogonal Procrustes: Schönemann, Psychometrika 31, 1966); that
needs no training and no labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tta.errors import TtaError
from tta.records import Array

LOSS = 0.03  # of recall that may be lost before a gallery counts as broken
WORSE = 0.10  # of recall that a new model may be behind the old one, each with its own gallery


@dataclass(frozen=True, slots=True)
class CrossRetrieval:
    """Recall@1 on frames that the rotation was not fitted on.

    Attributes:
        old_old: queries and gallery of the old model: what there was.
        new_old: queries of the new model against the old gallery, as they come.
        repaired: the same, queries rotated.
        new_new: everything embedded anew: what there could be.
        rotation: ``(D, d)`` with orthonormal columns (rows, where D < d), new to old: queries @ rotation.
    """

    old_old: float
    new_old: float
    repaired: float
    new_new: float
    rotation: Array

    @property
    def verdict(self) -> str:
        """``valid``, ``repair``, ``rebuild`` or ``worse``, and why."""
        if self.new_new < self.old_old - WORSE:
            return "worse: the new model finds less even in a gallery of its own; keep the old one"
        enough = min(self.old_old, self.new_new) - LOSS
        if self.new_old >= enough:
            return "valid: queries of the new model find in the old gallery what they can"
        if self.repaired >= enough:
            return "repair: rotated, queries of the new model find in the old gallery what they can"
        if self.repaired > self.new_old + LOSS:
            return "rebuild: a rotation mends a part, but only embedding the gallery anew all of it"
        return "rebuild: no rotation leads from the new space to the old one"


def procrustes(new: Array, old: Array) -> Array:
    """R ``(D, d)`` that minimizes ‖new·R - old‖ among those with orthonormal columns, or rows where D < d.

    R = U·Vᵀ of the singular value decomposition newᵀ·old = U·S·Vᵀ.

    >>> turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    >>> np.allclose(procrustes(np.eye(2), turn), turn)
    True
    """
    if new.ndim != 2 or old.ndim != 2 or len(new) != len(old) or not len(new):
        raise TtaError(
            f"a rotation is fitted on the same frames twice, (n, D) and (n, d), but got {new.shape} and "
            f"{old.shape}"
        )
    u, _, vt = np.linalg.svd(np.asarray(new, np.float64).T @ old, full_matrices=False)
    found: Array = u @ vt
    return found


def recall(queries: Array, labels: Array, gallery: Array, gallery_labels: Array) -> float:
    """Share of queries ``(n, d)`` whose nearest gallery vector by cosine has their label."""
    a, b = (
        x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (queries, gallery)
    )
    return float((gallery_labels[(a @ b.T).argmax(1)] == labels).mean())


def cross_retrieval(old: Array, new: Array, labels: Array) -> CrossRetrieval:
    """Judge on labelled frames that both models have embedded.

    Every other frame is gallery, and what the rotation is fitted on; the others are queries. Where the sizes
    differ, queries as they come are compared in the leading dimensions that both have.

    Args:
        old: ``(n, d)`` of the model that made the gallery.
        new: ``(n, D)`` of the same frames.
        labels: ``(n,)``.

    Raises:
        TtaError: too few frames, or numbers that do not go together.
    """
    if not len(old) == len(new) == len(labels) or len(old) < 4:
        raise TtaError(
            f"cross-retrieval takes 4 labelled frames or more, but got {len(old)}, {len(new)}, {len(labels)}"
        )
    kept, asked = np.arange(0, len(old), 2), np.arange(1, len(old), 2)
    shared = min(old.shape[1], new.shape[1])
    rotation = procrustes(new[kept], old[kept])
    stored = labels[kept]

    def found(queries: Array, gallery: Array) -> float:
        return recall(queries, labels[asked], gallery, stored)

    return CrossRetrieval(
        found(old[asked], old[kept]),
        found(new[asked][:, :shared], old[kept][:, :shared]),
        found(new[asked] @ rotation, old[kept]),
        found(new[asked], new[kept]),
        rotation,
    )


__all__ = ["CrossRetrieval", "cross_retrieval", "procrustes", "recall"]
