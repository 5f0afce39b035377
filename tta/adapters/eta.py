"""ETA: entropy minimization on frames that are reliable and not redundant."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tta.adapters.tent import SGD_MOMENTUM, Tent
from tta.categorical import entropies
from tta.errors import TtaError
from tta.manifest import Manifest
from tta.protocols import Run
from tta.records import Array, State, Step, frozen

FOLLOWED = 0.1  # share of a batch in the moving average of the probabilities


class Eta(Tent):
    """Tent on chosen frames, the surest with the most weight.

    With the entropy H(p) of a frame's probabilities ``(K,)`` and m the moving average of those learned from,

        S(x) = exp(E0 - H(p)) · 1[H(p) < E0] · 1[|cos(p, m)| < d],        L = (1/n)·Σ S(x_i)·H(p_i),

    E0 = ``margin``·ln K, n the frames with S > 0, and S taken for a constant. Niu et al., "Efficient
    test-time model adaptation without forgetting", ICML 2022, eqs. 2 to 5 (there EATA without its penalty
    against forgetting). ``d`` is 0.05 there for ImageNet; doebler's benchmark takes 0.4 for CIFAR-10.

    Cost: one forward to choose, and Tent's step where a frame is chosen at all; a batch without one costs
    the forward alone, and the optimizer does not count it. Outputs are those before the update. Needs
    batches, as Tent does.
    """

    needs = frozenset({"batch", "step/entropy"})
    asks = frozenset({"class"})  # it weighs frames by their class probabilities

    def __init__(
        self,
        lr: float = 1e-3,
        optimizer: str = "adam",
        sgd_momentum: float = SGD_MOMENTUM,
        momentum: float = 0.1,
        alpha: float = 1.0,
        margin: float = 0.4,
        d: float = 0.4,
        ghost: int = 0,
        tau_s: float | None = None,
    ) -> None:
        super().__init__(lr, optimizer, sgd_momentum, momentum, alpha, ghost=ghost, tau_s=tau_s)
        if not 0 < margin <= 1:
            raise TtaError(f"margin is a share of ln K in 0..1 above 0, but is {margin}")
        if not 0 < d <= 1:
            raise TtaError(
                f"d is the largest cosine of a frame to learn from, in 0..1 above 0, but is {d}"
            )
        self.margin, self.d = margin, d

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state with an empty optimizer."""
        return State(manifest.hash, "eta", slots)

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """One optimizer step on the chosen frames; outputs from before it."""
        seen = run("batch", batch, state.slots, alpha=self.alpha)
        weight, mean = self.choose(seen.outputs["logits"], state.memory.get("probabilities"))
        if not weight.any():
            return self.update(
                state, Step(seen.outputs, seen.moments, span=seen.span)
            ), seen.outputs
        share = np.float32(len(batch) / np.count_nonzero(weight))  # the graph averages over all
        step = run(
            "step/entropy", batch, state.slots, alpha=self.alpha, sample_weight=weight * share
        )
        after = self.update(state, step)
        memory = frozen({**after.memory, "probabilities": mean})
        return replace(after, memory=memory), seen.outputs

    def choose(self, logits: Array, mean: Array | None) -> tuple[Array, Array]:
        """S of each frame ``(N,)``, zero for those not chosen, and the new m ``(K,)``."""
        p, entropy = entropies(logits)
        border = self.margin * math.log(p.shape[1])
        chosen = entropy < border
        if mean is not None:
            cosine = p @ mean / np.maximum(np.linalg.norm(p, axis=1) * np.linalg.norm(mean), 1e-12)
            chosen &= np.abs(cosine) < self.d
        weight = np.where(chosen, np.exp(border - entropy), 0).astype(np.float32)
        if not chosen.any():
            return weight, np.zeros(p.shape[1]) if mean is None else mean
        now = p[chosen].mean(0)
        return weight, now if mean is None else (1 - FOLLOWED) * mean + FOLLOWED * now
