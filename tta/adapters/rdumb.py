"""RDumb: ETA that returns to the source every so many steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tta.adapters._source import remembered, returned
from tta.adapters.eta import Eta
from tta.adapters.tent import SGD_MOMENTUM
from tta.errors import TtaError
from tta.manifest import Manifest
from tta.protocols import Run
from tta.records import Array, State


class Rdumb(Eta):
    """Forget all that was learned after every ``period`` steps, and begin again at the source.

    Press et al., "RDumb: a simple approach that questions our progress in continual test-time adaptation",
    NeurIPS 2023: ETA with a full reset of weights, optimizer and moving average each T = 1,000 steps. The
    baseline that every method for long streams has to beat; the reset is blind to what happens.

    Cost: ETA's, and a second copy of the slots.
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
        period: int = 1000,
        ghost: int = 0,
        tau_s: float | None = None,
    ) -> None:
        super().__init__(
            lr, optimizer, sgd_momentum, momentum, alpha, margin, d, ghost=ghost, tau_s=tau_s
        )
        if period < 1:
            raise TtaError(f"period is a number of steps of at least 1, but is {period}")
        self.period = period

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state, which is remembered whole."""
        return State(manifest.hash, "rdumb", slots, remembered(slots))

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """ETA's step, from the source where a period has passed."""
        if state.step == 0 or state.step % self.period:
            return super().adapt(state, batch, run)
        after, outputs = super().adapt(returned(state), batch, run)
        return replace(after, parent=state.hash), outputs
