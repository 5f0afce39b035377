"""LAME: the answers to one batch are smoothed over neighbours in feature space; the model stays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tta.categorical import log_softmax
from tta.errors import TtaError
from tta.manifest import Manifest
from tta.protocols import Run
from tta.records import Array, State

AFFINITIES = ("knn", "rbf", "linear")


class Lame:
    """Laplacian-regularised assignment of a batch's frames to classes.

    Minimizes Σ_i KL(z_i || p_i) - Σ_ij w_ij·z_i·z_j over simplex rows z by repeating

        z_i ∝ p_i·exp(Σ_j w_ij·z_j)      from z = p, until no share moves by more than ``tolerance``.

    p ``(N, K)`` are the source model's probabilities, w an affinity of L2-normalized features: ``knn``
    (1 for the ``neighbours`` nearest, self excluded), ``rbf`` (exp(-d²/2σ²), σ the mean distance to the
    neighbour number ``neighbours``) or ``linear`` (inner product).
    Boudiaf et al., "Parameter-free online test-time adaptation", CVPR 2022.

    Departures: the served logits are log z; the stop is by the largest change of a share, not by the
    energy; a frame is no neighbour of itself under any affinity.
    Cost: one forward of ``batch.onnx`` a step, and (N, N) affinities. At batch 1 there are no neighbours
    and the source answers. Only batch serving shows it: the state never moves, so that in stream serving
    every frame is answered by the source. Hurts where neighbours in a stream have independent labels.
    """

    needs = frozenset({"batch"})
    asks = frozenset({"class"})
    couples = False

    def __init__(
        self,
        affinity: str = "knn",
        neighbours: int = 5,
        iterations: int = 100,
        tolerance: float = 1e-8,
    ) -> None:
        if affinity not in AFFINITIES:
            raise TtaError(f"affinity is one of {', '.join(AFFINITIES)}, but is {affinity!r}")
        if neighbours < 1 or iterations < 1:
            raise TtaError(
                f"neighbours and iterations are at least 1, but are {neighbours} and {iterations}"
            )
        if not tolerance >= 0:
            raise TtaError(f"tolerance is a share of at least 0, but is {tolerance}")
        self.affinity, self.neighbours = affinity, neighbours
        self.iterations, self.tolerance = iterations, tolerance

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state, which stays.

        Raises:
            TtaError: the bundle is no classifier with ``logits`` and ``features``.
        """
        if manifest.task != "classify" or not {"logits", "features"} <= set(manifest.outputs):
            raise TtaError(
                "lame needs a classifier's logits and features: export one, or use bn_stats"
            )
        return State(manifest.hash, "lame", slots)

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """The same state, and the batch's outputs with assigned logits."""
        step = run("batch", batch, state.slots, alpha=0.0)
        logits = step.outputs["logits"]
        log_p = log_softmax(logits)
        z = self.assign(log_p, self.weights(step.outputs["features"]))
        return state, {**step.outputs, "logits": z.astype(logits.dtype)}

    def weights(self, features: Array) -> Array:
        """Affinities ``(N, N)`` of features ``(N, ...)``, zero on the diagonal."""
        f = features.reshape(len(features), -1).astype(np.float64)
        f /= np.maximum(np.linalg.norm(f, axis=1, keepdims=True), 1e-12)
        n = len(f)
        w: Array
        if n == 1:
            return np.zeros((1, 1))
        if self.affinity == "linear":
            w = f @ f.T
        else:
            distance = np.sqrt(np.maximum(2 - 2 * (f @ f.T), 0))
            np.fill_diagonal(distance, np.inf)
            k = min(self.neighbours, n - 1)
            order = np.argsort(distance, axis=1, kind="stable")[:, :k]
            if self.affinity == "knn":
                w = np.zeros((n, n))
                np.put_along_axis(w, order, 1.0, axis=1)
            else:
                sigma = max(float(np.take_along_axis(distance, order[:, -1:], 1).mean()), 1e-12)
                w = np.exp(-(distance**2) / (2 * sigma**2))
        np.fill_diagonal(w, 0)
        return w

    def assign(self, log_p: Array, w: Array) -> Array:
        """Log z ``(N, K)`` at the fixed point, from log p ``(N, K)`` and affinities ``(N, N)``."""
        log_z = log_p
        for _ in range(self.iterations):
            new = log_softmax(log_p + w @ np.exp(log_z))
            moved = np.abs(np.exp(new) - np.exp(log_z)).max()
            log_z = new
            if moved <= self.tolerance:
                break
        return log_z
