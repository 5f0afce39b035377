"""T3A: the classifier's rows become centroids of the surest features seen of each class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tta.adapters._source import remembered, source_slots
from tta.categorical import entropies
from tta.errors import TtaError
from tta.manifest import Manifest
from tta.protocols import Run
from tta.records import Array, State


class T3a:
    """Test-time templates in place of the last linear layer.

    Each class begins with its own weight row as support. A frame's feature z joins the class that the
    source head gives it; a class keeps the ``filter_k`` supports of lowest source entropy; the served
    logits are z·c_k, with c_k the mean of the L2-normalized supports of class k.
    Iwasawa and Matsuo, "Test-time classifier adjustment module for model-agnostic domain generalization",
    NeurIPS 2021, the templates and their entropy filter.

    Departures: what the filter drops is forgotten, so that memory is bounded (the kept set is the same,
    since entropies never change); the head's bias becomes zero.
    Cost: one forward of ``batch.onnx`` a step; memory K·filter_k·(F + 1) numbers. Works at batch 1, and in
    stream serving, where the committed head answers the frames after it.
    """

    needs = frozenset({"batch"})
    asks = frozenset({"class"})
    couples = False

    def __init__(self, filter_k: int = 20) -> None:
        if filter_k < 1:
            raise TtaError(f"filter_k is a number of supports of at least 1, but is {filter_k}")
        self.filter_k = filter_k

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state; supports are begun at the first step.

        Raises:
            TtaError: the bundle has no slots for the weight and bias of a classifier's last layer.
        """
        if manifest.task != "classify" or not {"head.weight", "head.bias"} <= set(slots):
            raise TtaError("t3a needs the slots head.weight and head.bias: export the model anew")
        source = {name: slots[name] for name in ("head.weight", "head.bias")}
        return State(manifest.hash, "t3a", slots, remembered(source))

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """The batch's features join the supports; outputs by the templates with them."""
        source = source_slots(state)
        weight, bias = (source[f"head.{k}"].astype(np.float64) for k in ("weight", "bias"))
        step = run("batch", batch, state.slots, alpha=0.0)
        z = step.outputs["features"].reshape(len(batch), -1).astype(np.float64)
        if "support" in state.memory:
            support, entropy, owner = (state.memory[k] for k in ("support", "entropy", "owner"))
        else:
            support, owner = _unit(weight), np.arange(len(weight))
            _, entropy = entropies(weight @ weight.T + bias)
        logits = z @ weight.T + bias
        support = np.concatenate([support, _unit(z)])
        entropy = np.concatenate([entropy, entropies(logits)[1]])
        owner = np.concatenate([owner, logits.argmax(1)])
        kept = np.concatenate(
            [
                mine[np.argsort(entropy[mine], kind="stable")[: self.filter_k]]
                for k in range(len(weight))
                for mine in [np.flatnonzero(owner == k)]
            ]
        )
        support, entropy, owner = support[kept], entropy[kept], owner[kept]
        head = np.stack([support[owner == k].mean(0) for k in range(len(weight))])
        memory = {"support": support, "entropy": entropy, "owner": owner}
        after = state.child({"head.weight": head, "head.bias": np.zeros(len(weight))}, memory)
        served = (z @ head.T).astype(step.outputs["logits"].dtype)
        return after, {**step.outputs, "logits": served}


def _unit(x: Array) -> Array:
    found: Array = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return found
