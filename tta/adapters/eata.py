"""EATA: ETA that is held back where the source model would forget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tta.adapters._source import remembered, source_slots
from tta.adapters.eta import Eta
from tta.adapters.tent import SGD_MOMENTUM
from tta.errors import BundleError, TtaError
from tta.manifest import Manifest
from tta.records import Array, State, Step, frozen

_FISHER = "fisher."


class Eata(Eta):
    """ETA with a penalty on slots that matter to the source data and move away from the source.

    To ETA's loss it adds β·Σ_j ω_j·(θ_j - θ_j⁰)² over scales and biases θ, with β = ``penalty`` and the
    diagonal Fisher information at the source θ⁰, of Q source samples x and the labels ŷ that the source
    model gives them,

        ω_j = (1/Q)·Σ_x (d CE(x, ŷ)/dθ_j)².

    Niu et al., "Efficient test-time model adaptation without forgetting", ICML 2022: ETA after eqs. 2 to 5,
    the penalty after the section on anti-forgetting weights, whose equation numbers were not checked. β is
    2000 there for ImageNet and 1 for CIFAR-10, with Q = 2000.

    Departures: ω is taken sample by sample under the source's statistics, as the formula reads, and not
    from squared means of whole batches under their own, which are smaller: β says more here. Q is what
    export was given, at most 512. A batch of which no frame is chosen takes no step, so the penalty does not
    pull there either.
    Cost: ETA's, and two more copies of scales and biases; at export a single-frame step a sample.
    """

    def __init__(
        self,
        lr: float = 1e-3,
        optimizer: str = "adam",
        sgd_momentum: float = SGD_MOMENTUM,
        momentum: float = 0.1,
        alpha: float = 1.0,
        margin: float = 0.4,
        d: float = 0.4,
        penalty: float = 1.0,
    ) -> None:
        super().__init__(lr, optimizer, sgd_momentum, momentum, alpha, margin, d)
        if not penalty >= 0:
            raise TtaError(f"penalty is a weight of at least 0, but is {penalty}")
        self.penalty = penalty

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state, whose scales and biases are remembered; ``inform`` tells which of them matter."""
        trained = {s.name: slots[s.name] for s in manifest.named("scale", "bias")}
        return State(manifest.hash, "eata", slots, remembered(trained))

    def inform(self, state: State, calibration: Mapping[str, Array]) -> State:
        """The state with the Fisher information that export left.

        Raises:
            BundleError: there is none.
        """
        names = [f"{_FISHER}{name}" for name in source_slots(state)]
        if missing := [name for name in names if name not in calibration]:
            raise BundleError(
                f"eata needs the Fisher information of source samples, but the bundle has no {missing[0]!r}: "
                "export again with samples and --objectives entropy,pseudo_label, or choose --adapter eta"
            )
        fisher = {name: calibration[name] for name in names}
        return replace(state, memory=frozen({**state.memory, **fisher}))

    def update(self, state: State, step: Step) -> State:
        """ETA's update with the penalty's gradient 2·β·ω·(θ - θ⁰) added."""
        source = source_slots(state)
        pulled = dict(step.gradients)
        for name in pulled.keys() & source.keys():
            fisher = state.memory.get(f"{_FISHER}{name}")
            if fisher is None:
                raise TtaError(
                    f"this state of eata knows no Fisher information of {name}: begin with "
                    "tta.runtime.method.source_state, which hands it over"
                )
            away = state.slots[name] - source[name]
            pulled[name] = pulled[name] + np.float32(2 * self.penalty) * fisher * away
        return super().update(state, replace(step, gradients=pulled))
