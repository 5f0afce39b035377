"""No adaptation: the frozen source model, as a method like any other."""

from __future__ import annotations

from collections.abc import Mapping

from tta.manifest import Manifest
from tta.protocols import Run
from tta.records import Array, State


class NoAdaptation:
    """The source model. Off is a value: comparing against it needs no special case.

    Cost: one forward of ``batch.onnx`` with source statistics where a batch's outputs are asked for.
    """

    needs = frozenset({"batch"})
    couples = False

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state."""
        return State(manifest.hash, "none", slots)

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """The state unchanged, and the source model's outputs (alpha = 0)."""
        return state, run("batch", batch, state.slots, alpha=0.0).outputs
