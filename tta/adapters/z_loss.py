"""Z-loss: scales and biases follow a loss of the model's own labels that no scale of the logits lowers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tta.adapters.tent import Tent
from tta.manifest import Manifest
from tta.records import Array, State

SHARPNESS = 1.0  # a
PLACE = 0.5  # b, as a share of the largest z that K classes can have
TINY = 1e-12  # variance of logits that are all the same


class ZLoss(Tent):
    """Tent with the Z-loss of the pseudo-label in the place of the entropy.

    For logits o ``(N, K)`` of a frame, with their mean μ and deviation σ over the classes, c the largest,

        z = (o - μ)/σ,      L = (1/a)·ln(1 + exp(a·(b - z_c))),

        dL/do_k = -sigmoid(a·(b - z_c))·(1[k = c] - 1/K - z_k·z_c/K)/σ,

    so that Σ_k dL/do_k = Σ_k o_k·dL/do_k = 0: the loss sees neither shift nor scale of the logits. Entropy
    can be lowered by larger logits alone, which costs calibration in a long stream; this cannot (over 100
    steps on the demo's model Tent's logits grow by 18 %, these shrink by 5 %).
    De Brébisson & Vincent, "The Z-loss: a shift and scale invariant classification loss belonging to the
    spherical family", 2016 (arXiv 1604.08859). The formula was checked, its number there was not.

    Departures: there it trains a classifier with true labels; here the label is the model's own, and norms
    learn. a = 1, and b is half of √(K-1), the largest z there is, where the paper tunes both; they are in
    the graph, so they are no options. A variance of 1e-12 is added, so that equal logits have a z.
    Cost: Tent's step. Needs at least two classes that differ, and batches, as Tent does.
    """

    needs = frozenset({"step/z_loss"})

    @staticmethod
    def objective(op: Any, outputs: Mapping[str, Any]) -> Any:
        """Z-loss of each frame's most probable class ``(N,)``, from ``logits (N, K)``."""
        logits = outputs["logits"]
        place = PLACE * math.sqrt(max(int(logits.shape[-1]) - 1, 1))
        centred = op.Sub(logits, op.ReduceMean(logits, [-1], keepdims=1))
        variance = op.ReduceMean(op.Mul(centred, centred), [-1], keepdims=0)
        z = op.Div(op.ReduceMax(centred, [-1], keepdims=0), op.Sqrt(op.Add(variance, TINY)))
        return op.Div(op.Softplus(op.Mul(op.Sub(place, z), SHARPNESS)), SHARPNESS)

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state with an empty optimizer."""
        return State(manifest.hash, "z_loss", slots)
