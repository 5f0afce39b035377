"""ROID: a likelihood ratio of diverse and sure frames, held near the source, answered by the prior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tta.adapters._source import remembered, source_slots
from tta.adapters.tent import SGD_MOMENTUM, Tent
from tta.categorical import entropies, log_softmax
from tta.errors import TtaError
from tta.manifest import Manifest
from tta.protocols import Run
from tta.records import Array, State, frozen

FOLLOWED = 0.1  # share of a batch in the moving average of the probabilities
TEMPERATURE = 1 / 3
SURE = 0.99  # probability from which a class says no more
TINY = 1e-5  # of the odds


class Roid(Tent):
    """Tent with another loss, weights of frames, a pull to the source, and a correction of the answers.

    For probabilities p ``(N, K)`` of a batch and their moving average m ``(K,)``, begun uniform,

        loss      ℓ_i = -Σ_k p_ik·ln(p_ik/(1 - p_ik)),      L = (1/N)·Σ_i w_i·ℓ_i
        weights   w_i = exp(d_i·c_i/T), 0 where d_i is below the batch's mean,
                  d = 1 - cos(p_i, m) and c = -H(p_i), each scaled to 0..1 over the batch; T = 1/3
        source    θ ← s·θ + (1 - s)·θ⁰ after each step, s = ``keep``
        answers   p_ik·π_k, π the batch's mean p smoothed: (π + g)/(1 + g·K), g = max(1/N, 1/K)/max π

    Marsden, Döbler & Yang, "Universal test-time adaptation through weight ensembling, diversity weighting,
    and prior correction", WACV 2024; s = 0.99 and m's 0.9 as there, section and equation numbers not checked.
    Unlike entropy, ℓ keeps its slope where the model is sure; p is cut at 0.99 and the odds are kept 1e-5 off
    zero, as in the authors' benchmark.

    Departures: their third term, symmetric cross-entropy between a frame and a random augmentation of it, is
    left out: it takes a second view in the graph, and image augmentations mean nothing to a sensor. The prior
    multiplies probabilities. It is that of a batch and no part of the state, so only batch serving shows
    it; ``correct=false`` leaves it out.
    Cost: one forward to weigh, Tent's step, and a copy of scales and biases. Needs batches, as Tent does.
    """

    needs = frozenset({"batch", "step/slr"})

    def __init__(
        self,
        lr: float = 1e-3,
        optimizer: str = "adam",
        sgd_momentum: float = SGD_MOMENTUM,
        momentum: float = 0.1,
        alpha: float = 1.0,
        keep: float = 0.99,
        correct: bool = True,
    ) -> None:
        super().__init__(lr, optimizer, sgd_momentum, momentum, alpha)
        if not 0 <= keep <= 1:
            raise TtaError(f"keep is the share of the adapted weights in 0..1, but is {keep}")
        self.keep, self.correct = keep, correct

    @staticmethod
    def objective(op: Any, outputs: Mapping[str, Any]) -> Any:
        """Soft likelihood ratio of each frame ``(N,)``, from ``logits (N, K)``."""
        p = op.Min(op.Softmax(outputs["logits"], axis=-1), SURE)
        odds = op.Add(op.Div(p, op.Sub(1.0, p)), TINY)
        return op.Neg(op.ReduceSum(op.Mul(p, op.Log(odds)), [-1], keepdims=0))

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state, whose scales and biases are remembered."""
        trained = {s.name: slots[s.name] for s in manifest.named("scale", "bias")}
        return State(manifest.hash, "roid", slots, remembered(trained))

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """One step on the weighed frames and one to the source; corrected outputs from before both."""
        seen = run("batch", batch, state.slots, alpha=self.alpha)
        p, entropy = entropies(seen.outputs["logits"])
        mean = state.memory.get("probabilities", np.full(p.shape[1], 1 / p.shape[1]))
        weight = self.weigh(p, entropy, mean)
        step = run("step/slr", batch, state.slots, alpha=self.alpha, sample_weight=weight)
        after = self.update(state, step)
        slots = dict(after.slots)
        for name, source in source_slots(state).items():
            slots[name] = np.float32(self.keep) * slots[name] + np.float32(1 - self.keep) * source
        followed = (1 - FOLLOWED) * mean + FOLLOWED * p.mean(0)
        memory = frozen({**after.memory, "probabilities": followed})
        outputs = self.corrected(seen.outputs, p) if self.correct else seen.outputs
        return replace(after, slots=frozen(slots), memory=memory), outputs

    def weigh(self, p: Array, entropy: Array, mean: Array) -> Array:
        """Weights w ``(N,)`` of frames with probabilities p ``(N, K)``."""
        lengths = np.linalg.norm(p, axis=1) * np.linalg.norm(mean)
        diverse, sure = _unit(1 - p @ mean / np.maximum(lengths, 1e-12)), _unit(-entropy)
        weight = np.exp(diverse * sure / TEMPERATURE)
        return np.where(diverse < diverse.mean(), 0, weight).astype(np.float32)

    def corrected(self, outputs: Mapping[str, Array], p: Array) -> dict[str, Array]:
        """The outputs with ln(p·π) for logits."""
        prior = p.mean(0)
        g = max(1 / len(p), 1 / p.shape[1]) / prior.max()
        smooth = (prior + g) / (1 + g * p.shape[1])
        logits = log_softmax(outputs["logits"]) + np.log(smooth)
        return {**outputs, "logits": logits.astype(outputs["logits"].dtype)}


def _unit(values: Array) -> Array:
    """Scaled to 0..1 over the batch; zeros where all are the same."""
    spread = values.max() - values.min()
    found: Array = (values - values.min()) / (spread if spread > 0 else 1.0)
    return found
