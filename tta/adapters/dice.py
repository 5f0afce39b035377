"""Soft-dice consistency: a segmenter's scales and biases move until an image and its mirror image agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tta.adapters.tent import Tent
from tta.manifest import Manifest
from tta.protocols import Run
from tta.records import Array, State

SMOOTH = 1e-3  # positions that a class has at least, on both sides


class Dice(Tent):
    """Tent with a soft-dice distance to the mean of two views in the place of the entropy.

    With p ``(N, K, H, W)`` the probabilities and t the mean of p and of those of the mirrored frames,
    mirrored back and held fixed,

        L = (1/NK)·Σ_ik [1 - (2·Σ p·t + ε)/(Σ p² + Σ t² + ε)],  sums over positions.

    Dice weighs each class by its own size, so that a small object counts like the background (soft dice:
    Milletari et al., "V-Net", 3DV 2016, section 3; what it does for large objects and small ones: Kumar et
    al., "SeaBird", CVPR 2024). The consistency of two views is this project's own choice of a target without
    labels; a model for scenes that must not be mirrored, such as text, is not for it.
    Cost: Tent's step and two more forwards. Needs batches, as Tent does.
    """

    needs = frozenset({"batch", "step/dice"})
    asks = frozenset({"map"})

    @staticmethod
    def objective(op: Any, outputs: Mapping[str, Any]) -> Any:
        """The distance of each frame ``(N,)``, from ``logits (N, K, H, W)``."""
        p = op.Softmax(outputs["logits"], axis=1)
        t = op.given("target", outputs["logits"])
        both = op.ReduceSum(op.Mul(p, t), [2, 3], keepdims=0)
        squares = op.ReduceSum(op.Add(op.Mul(p, p), op.Mul(t, t)), [2, 3], keepdims=0)
        share = op.Div(op.Add(op.Mul(both, 2.0), SMOOTH), op.Add(squares, SMOOTH))
        return op.Sub(1.0, op.ReduceMean(share, [1], keepdims=0))

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state with an empty optimizer."""
        return State(manifest.hash, "dice", slots)

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """One optimizer step; outputs from before it."""
        mirrored = np.ascontiguousarray(batch[..., ::-1])
        views = [run("batch", x, state.slots, alpha=self.alpha) for x in (batch, mirrored)]
        here, there = (_softmax(next(iter(view.outputs.values()))) for view in views)
        target = (here + there[..., ::-1]) / 2
        step = run(self.graph, batch, state.slots, alpha=self.alpha, target=np.float32(target))
        return self.update(state, step), step.outputs


def _softmax(logits: Array) -> Array:
    e = np.exp(logits - logits.max(1, keepdims=True))
    found: Array = e / e.sum(1, keepdims=True)
    return found


__all__ = ["SMOOTH", "Dice"]
