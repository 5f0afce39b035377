"""SAR: sharpness-aware entropy minimization on reliable frames, with a way back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tta.adapters._source import remembered, returned
from tta.adapters.tent import SGD_MOMENTUM, Tent, norm_gradients
from tta.categorical import entropies
from tta.errors import TtaError
from tta.manifest import Manifest
from tta.protocols import Run
from tta.records import Array, State, Step, frozen


class Sar(Tent):
    """Descend with the gradient found a little uphill, on frames whose entropy is low.

    With g the gradient of the mean entropy over the frames with H < E0 = ``margin``·ln K,

        ε = ρ·g/‖g‖ over all scales and biases,       θ ← descend(θ, ∇L(θ + ε)),

    where the second mean is over those of the chosen frames that are below E0 at θ + ε too. A moving
    average (0.9) of that second mean below ``least`` says that the model has collapsed: everything then
    returns to the source. Niu et al., "Towards stable test-time adaptation in dynamic wild world", ICLR
    2023, eqs. 2 to 6 and algorithm 1; ρ = 0.05, e0 = 0.2, E0 = 0.4·ln K as there. Layers whose name begins
    with one of ``skip`` (joined by +) stay, as the paper leaves out the last ones. A batch without a chosen
    frame takes no step, not even by momentum.

    Made for group and layer norms; under batch statistics it is as exposed to correlated streams as Tent.
    Cost: two forwards and two of Tent's steps, and a second copy of the slots.
    """

    needs = frozenset({"batch", "step/entropy"})
    asks = frozenset({"class"})  # it weighs frames by their class probabilities

    def __init__(
        self,
        lr: float = 1e-3,
        optimizer: str = "sgd",
        sgd_momentum: float = SGD_MOMENTUM,
        momentum: float = 0.1,
        alpha: float = 1.0,
        margin: float = 0.4,
        rho: float = 0.05,
        least: float = 0.2,
        skip: str = "",
        ghost: int = 0,
        tau_s: float | None = None,
    ) -> None:
        super().__init__(lr, optimizer, sgd_momentum, momentum, alpha, ghost=ghost, tau_s=tau_s)
        if not 0 < margin <= 1:
            raise TtaError(f"margin is a share of ln K in 0..1 above 0, but is {margin}")
        if not rho > 0:
            raise TtaError(f"rho is the length of the way uphill, above 0, but is {rho}")
        self.margin, self.rho, self.least = margin, rho, least
        self.skip = tuple(name for name in skip.split("+") if name)

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state, which is remembered whole."""
        return State(manifest.hash, "sar", slots, remembered(slots))

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """One sharpness-aware step, or the way back; outputs from before it."""
        seen = run("batch", batch, state.slots, alpha=self.alpha)
        _, entropy = entropies(seen.outputs["logits"])
        border = self.margin * math.log(seen.outputs["logits"].shape[1])
        plain = Step(seen.outputs, seen.moments, span=seen.span)
        first = self._gradients(state.slots, batch, run, entropy < border)
        length = math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in first.values()))
        if not length:
            return self.update(state, plain), seen.outputs
        uphill = {
            name: state.slots[name] + np.float32(self.rho / length) * g for name, g in first.items()
        }
        there = {**state.slots, **uphill}
        _, higher = entropies(run("batch", batch, there, alpha=self.alpha).outputs["logits"])
        chosen = (entropy < border) & (higher < border)
        second = self._gradients(there, batch, run, chosen)
        if not second:
            return self.update(state, plain), seen.outputs
        loss, last = float(higher[chosen].mean()), state.memory.get("loss")
        followed = loss if last is None else 0.9 * float(last) + 0.1 * loss
        if followed < self.least:
            back = replace(returned(state), step=state.step + 1, parent=state.hash)
            return back, seen.outputs
        after = self.update(state, replace(plain, gradients=second))
        memory = frozen({**after.memory, "loss": np.array(followed)})
        return replace(after, memory=memory), seen.outputs

    def _gradients(
        self, slots: Mapping[str, Array], batch: Array, run: Run, chosen: Array
    ) -> dict[str, Array]:
        """Gradients of the mean entropy of the chosen frames, empty where there is none."""
        if not chosen.any():
            return {}
        weight = np.float32(chosen) * np.float32(len(batch) / chosen.sum())
        step = run("step/entropy", batch, slots, alpha=self.alpha, sample_weight=weight)
        return {
            name: gradient
            for name, gradient in norm_gradients(step).items()
            if not name.startswith(self.skip or ("\0",))
        }
