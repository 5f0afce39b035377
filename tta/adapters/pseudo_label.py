"""Pseudo-labels: scales and biases follow the cross-entropy of the model's own labels down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tta.adapters.tent import Tent
from tta.manifest import Manifest
from tta.records import Array, State


class PseudoLabel(Tent):
    """Tent with the cross-entropy of the most probable class in the place of the entropy.

    L = -(1/N)·Σ_i ln max_k p_ik,  for the probabilities p of logits ``(N, K)``.

    Lee, "Pseudo-label: the simple and efficient semi-supervised learning method for deep neural networks",
    ICML workshop 2013, with no labelled term; section numbers not checked. It pulls harder than entropy
    where the model is unsure, and so confirms more of its errors. Its gradient at the source, squared, is the
    Fisher information that ``eata`` needs: export computes it where this graph is asked for.
    Cost: Tent's step. Needs batches, as Tent does.
    """

    needs = frozenset({"step/pseudo_label"})

    @staticmethod
    def objective(op: Any, outputs: Mapping[str, Any]) -> Any:
        """Cross-entropy in nats of each frame's most probable class ``(N,)``, from ``logits (N, K)``."""
        log_p = op.LogSoftmax(outputs["logits"], axis=-1)
        return op.Neg(op.ReduceMax(log_p, [-1], keepdims=0))

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state with an empty optimizer."""
        return State(manifest.hash, "pseudo_label", slots)
