"""Tent: scales and biases of the norm layers follow the entropy of the predictions down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from tta.adapters.bn_stats import moving_averages
from tta.manifest import Manifest
from tta.momentum import Momentum
from tta.optimizers import check_kind, descend
from tta.protocols import Run
from tta.records import Array, State, Step
from tta.tasks.classify import Classify

SGD_MOMENTUM = 0.9


def mean_entropy(
    op: Any,
    outputs: Mapping[str, Any],
    entropy: Callable[[Any, Mapping[str, Any]], Any] = Classify.entropy,
) -> Any:
    """Entropy in nats of each frame ``(N,)``, as the task of the model writes it."""
    return entropy(op, outputs)


class Tent:
    """Minimize the mean prediction entropy over scale and bias, under batch statistics.

    L = (1/N)·Σ_i H(p_i),  H(p) = -Σ_k p_k·log p_k     for logits ``(N, K)``;

    where a frame takes several decisions, as at the positions of a segmenter, H is their mean.

    Wang et al., "Tent: fully test-time adaptation by entropy minimization", ICLR 2021, eq. 1 and section
    3.2; Adam at 1e-3 as there for CIFAR. Outputs are those before the update, as in the authors' protocol.
    What is committed for single frames also holds moving averages of the batch statistics, since the
    trained scales fit those; the published method keeps no statistics at all. ``ghost`` and ``tau_s`` state
    the momentum by the frame or by the second (``tta.momentum.Momentum``).

    Cost: one forward and one backward down to the first norm layer a step. Collapses on correlated, tiny
    or endless streams: leave a guard on.
    """

    needs = frozenset({"step/entropy"})
    asks = frozenset({"scores"})
    objective: ClassVar[Callable[..., Any]] = staticmethod(mean_entropy)

    def __init__(
        self,
        lr: float = 1e-3,
        optimizer: str = "adam",
        sgd_momentum: float = SGD_MOMENTUM,
        momentum: float = 0.1,
        alpha: float = 1.0,
        graph: str = "",
        ghost: int = 0,
        tau_s: float | None = None,
    ) -> None:
        self.lr, self.optimizer, self.sgd_momentum = lr, check_kind(optimizer), sgd_momentum
        self.momentum, self.alpha = Momentum(momentum, ghost, tau_s), alpha
        if graph:  # another objective than the class's own
            self.needs = frozenset({f"step/{graph}"})
        (self.graph,) = (name for name in self.needs if name.startswith("step/"))

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state with an empty optimizer."""
        return State(manifest.hash, "tent", slots)

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """One optimizer step; outputs from before it."""
        step = run(self.graph, batch, state.slots, alpha=self.alpha)
        return self.update(state, step), step.outputs

    def update(self, state: State, step: Step) -> State:
        """The state after one optimizer step on the gradients of norm scales and biases."""
        norms = norm_gradients(step)
        slots, memory = descend(
            self.optimizer, state.slots, norms, state.memory, self.lr, self.sgd_momentum
        )
        memory.update(moving_averages(state, step.moments, self.momentum, step.span))
        slots.update({k.removeprefix("ema."): v for k, v in memory.items() if _is_statistic(k)})
        return state.child(slots, memory)


def norm_gradients(step: Step) -> dict[str, Array]:
    """The gradients of norm scales and biases, by slot name."""
    return {k: g for k, g in step.gradients.items() if k.endswith((".scale", ".bias"))}


def _is_statistic(name: str) -> bool:
    return name.startswith("ema.") and name.endswith((".mean", ".var", ".square"))
