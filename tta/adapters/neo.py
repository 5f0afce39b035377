"""NEO: the features behind the last layer are re-centred at the origin."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tta.errors import TtaError
from tta.manifest import Manifest
from tta.protocols import Run
from tta.records import Array, State


class Neo:
    """Subtract the mean feature of the stream, so that its centroid lies at the origin again.

    A shift of the input moves the features of all classes by much the same vector. With c the mean of the
    features seen so far, the logits of a feature z ``(F,)`` become W·(z - c) + b.

    Murphy et al., "NEO: no-optimization test-time adaptation through latent re-centering", ICLR 2026
    (arXiv 2510.05635). No step size and no gradient. ``momentum`` 0 is the plain mean over all frames;
    above, the centroid follows as a moving average, for streams that go on shifting.

    It relies on a source model whose features are centred, or whose head does not care: where W·c of the
    source itself differs from class to class, re-centring moves its answers too. Vision transformers and
    balanced classes are its home; a stream of few classes is centred on those.
    Cost: one forward of ``batch.onnx`` a step, F numbers of memory. Works at batch 1, and in stream serving,
    where the committed shift costs one addition.
    """

    needs = frozenset({"batch"})
    couples = False

    def __init__(self, momentum: float = 0.0) -> None:
        if not 0 <= momentum <= 1:
            raise TtaError(f"momentum is a share in 0..1, but is {momentum}")
        self.momentum = momentum

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state, nothing seen yet.

        Raises:
            TtaError: the bundle has no shift of its features to set.
        """
        if not {"features.shift", "head.weight", "head.bias"} <= set(slots):
            raise TtaError(
                "neo needs a linear last layer with the slots features.shift, head.weight and head.bias, "
                "which this bundle lacks: choose bn_stats, or export the model anew"
            )
        return State(manifest.hash, "neo", slots)

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """The centroid with this batch in it; outputs re-centred by it."""
        step = run("batch", batch, state.slots, alpha=0.0)
        z = step.outputs["features"].reshape(len(batch), -1).astype(np.float64)
        seen = int(state.memory.get("seen", np.int64(0)))
        share = max(len(z) / (seen + len(z)), self.momentum)
        old = state.memory.get("centroid", np.zeros(z.shape[1]))
        centroid = old + share * (z.mean(0) - old)
        memory = {"centroid": centroid, "seen": np.array(seen + len(z), np.int64)}
        after = state.child({"features.shift": -centroid}, memory)
        weight, bias = (state.slots[f"head.{k}"].astype(np.float64) for k in ("weight", "bias"))
        served = ((z - centroid) @ weight.T + bias).astype(step.outputs["logits"].dtype)
        return after, {**step.outputs, "logits": served}
