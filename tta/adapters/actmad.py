"""ActMAD: scales and biases move until layers put out what they did on source data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tta.adapters.tent import SGD_MOMENTUM, norm_gradients
from tta.manifest import Manifest
from tta.optimizers import check_kind, descend
from tta.protocols import Run
from tta.records import Array, State


class ActMad:
    """Match the mean and variance of activations to those of the source, layer by layer.

    With μ_l, σ²_l ``(C,)`` over frames and positions of what norm layer l puts out on the batch, and hatted
    ones of the source,

        L = Σ_l (1/C_l)·(|μ_l - μ̂_l|₁ + |σ²_l - σ̂²_l|₁).

    Mirza et al., "ActMAD: activation matching to align distributions for test-time-training", CVPR 2023; the
    text was read as an abstract, so section and equation numbers are not checked. It asks nothing of the
    task: no labels, no class scores, any output. Norms run on their source statistics (α = 0), for under
    those of the batch every layer puts out what its slots say.

    Departures: there statistics are kept for each position of a feature map and all weights learn; here they
    are a channel's, which takes C numbers a layer in place of C·H·W, is defined for a single frame, and does
    not notice what moves within the picture; and norm scales and biases learn. Layers are those that adapt,
    without InstanceNorms, whose channels' statistics are fixed. Adam at 1e-3 is this project's default and
    not the paper's: under SGD, frames of extreme brightness give steps without bound.
    Cost: one forward and one backward, with some passes over every norm layer's output: 1.3 to 1.5 times
    Tent's step (ResNet-20 and MobileNetV2, batches of 1 and 8). Outputs are those before the update. Works at
    batch 1, where it follows single frames. It is slow: on the demo's model under contrast 2 the error on
    1,600 frames in batches of 16 is 66 % (frozen 76, bn_stats 32), and 45 % with ``lr=0.005``.
    """

    needs = frozenset({"step/actmad"})
    couples = False
    any_task = True

    def __init__(
        self, lr: float = 1e-3, optimizer: str = "adam", sgd_momentum: float = SGD_MOMENTUM
    ) -> None:
        self.lr, self.optimizer, self.sgd_momentum = lr, check_kind(optimizer), sgd_momentum

    @staticmethod
    def objective(op: Any, outputs: Mapping[str, Any], layers: Mapping[str, Any]) -> Any:
        """The distance of all layers' statistics from the source's, a scalar."""
        total = None
        for layer in layers.values():
            for here, source in (
                (layer.mean, layer.source_mean),
                (layer.var, layer.source_var),
            ):
                distance = op.ReduceMean(op.Abs(op.Sub(here, source)), [0], keepdims=0)
                total = distance if total is None else op.Add(total, distance)
        return total

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state with an empty optimizer."""
        return State(manifest.hash, "actmad", slots)

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """One optimizer step; outputs from before it."""
        step = run("step/actmad", batch, state.slots, alpha=0.0)
        slots, memory = descend(
            self.optimizer,
            state.slots,
            norm_gradients(step),
            state.memory,
            self.lr,
            self.sgd_momentum,
        )
        return state.child(slots, memory), step.outputs
