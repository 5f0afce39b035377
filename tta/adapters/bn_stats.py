"""Batch statistics: norm layers follow the stream's mean and variance; weights stay."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tta.adapters._source import remembered, source_slots
from tta.errors import TtaError
from tta.manifest import Manifest
from tta.moments import blend
from tta.protocols import Run
from tta.records import Array, Moments, State, Step


class BnStats:
    """Prediction-time batch normalization in three forms.

    With source statistics s and those of the stream b, the model runs on (1-α)·s + α·b:

    - ``alpha`` given: that share (α = 1 is BN-1 of Nado et al., "Evaluating prediction-time batch
      normalization for robustness under covariate shift", 2020);
    - ``prior`` given: α = n/(n + prior) for a batch of n frames (Schneider et al., "Improving robustness
      against common corruptions by covariate shift adaptation", NeurIPS 2020, eq. 3);
    - ``momentum``: what is committed are moving averages of b, new = (1-m)·old + m·batch, begun as a
      plain mean so that the first batch counts in full. Serving a stream uses these; serving the
      batch itself uses the batch's own statistics.

    Layers that have no mean and var slots (LayerNorm and the like) do not change.
    Cost: one forward of ``batch.onnx`` a step. Departure: the moving variance is that of the mixture, with
    the spread of the batch means in it.
    """

    needs = frozenset({"batch"})

    def __init__(
        self, alpha: float | None = None, prior: float | None = None, momentum: float = 0.1
    ) -> None:
        if alpha is not None and prior is not None:
            raise TtaError("bn_stats takes alpha or prior, not both")
        if alpha is not None and not 0 <= alpha <= 1:
            raise TtaError(f"alpha is a share in 0..1, but is {alpha}")
        if prior is not None and prior < 0:
            raise TtaError(f"prior is a number of frames, but is {prior}")
        if not 0 < momentum <= 1:
            raise TtaError(f"momentum is a share in 0..1 above 0, but is {momentum}")
        self.alpha, self.prior, self.momentum = alpha, prior, momentum
        self.couples = self.share(1) == 1  # with less, some of the source's variance is left

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state; source statistics are remembered, since the slots will move."""
        source = {s.name: slots[s.name] for s in manifest.named("mean", "var")}
        return State(manifest.hash, "bn_stats", slots, remembered(source))

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """Moving averages into the mean and var slots; outputs by the batch's own statistics."""
        alpha = self.share(len(batch))
        source = {**state.slots, **source_slots(state)}
        step = run("batch", batch, source, alpha=alpha)
        return self.observe(state, step), step.outputs

    def observe(self, state: State, step: Step) -> State:
        """The state after a step whose moments are those of as many frames as it has outputs."""
        alpha = self.share(max((len(v) for v in step.outputs.values()), default=1))
        memory = moving_averages(state, step.moments, self.momentum)
        slots = {}
        for name, value in source_slots(state).items():
            followed = memory.get(f"ema.{name}")
            if followed is not None:
                slots[name] = np.float32(1 - alpha) * value + np.float32(alpha) * followed
        return state.child(slots, memory)

    def share(self, n: int) -> float:
        """Alpha for a batch of n frames."""
        if self.prior is not None:
            return n / (n + self.prior)
        return 1.0 if self.alpha is None else self.alpha


def moving_averages(
    state: State, moments: Mapping[str, Moments], momentum: float
) -> dict[str, Array]:
    """Memory entries ``ema.<layer>.mean``, ``ema.<layer>.var`` and their count after one more batch.

    The share of the new batch is max(momentum, 1/k) at the k-th batch.
    """
    count = int(state.memory.get("ema.count", np.int64(0))) + 1
    share = max(momentum, 1 / count)
    memory: dict[str, Array] = {"ema.count": np.array(count, np.int64)}
    for layer, batch in moments.items():
        mean, var = f"{layer}.mean", f"{layer}.var"
        if mean not in state.slots:
            continue
        old = (
            state.memory.get(f"ema.{mean}", batch.mean),
            state.memory.get(f"ema.{var}", batch.var),
        )
        memory[f"ema.{mean}"], memory[f"ema.{var}"] = blend(old, (batch.mean, batch.var), share)
    return memory
