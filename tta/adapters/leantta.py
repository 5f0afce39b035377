"""LeanTTA: each frame is normalized by statistics of its own, held near the source's; nothing is kept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tta.errors import TtaError
from tta.manifest import Manifest
from tta.protocols import Run
from tta.records import Array, Moments, State


class Leantta:
    """Stateless, per-sample normalization statistics without backpropagation.

    In each layer, with source statistics s and those of one frame t ``(C,)``:

        stabilized   μ_b = τ·μ_s + (1-τ)·μ_t,   σ²_b = τ·σ²_s + (1-τ)·σ²_t
        divergence   d = 1 - exp(-Σ_c (μ_b - μ_s)²_c / σ²_s,c)     of the squared Mahalanobis distance
        used         μ = d^λ·μ_s + (1 - d^λ)·μ_b,   σ² likewise

    so that a frame far from the source in a layer is normalized there as the source was. Dong et al.,
    "LeanTTA: a backpropagation-free and stateless approach to quantized test-time adaptation on edge
    devices", 2025 (arXiv 2503.15889). Of the paper itself only the abstract was read; the rule is that of
    a published summary, which leaves τ and λ free: the defaults are ours. The covariance is taken to be
    diagonal. The paper's partial adaptation and its fusion of quantized modules are not here.

    ``passes``: as we read it, the paper goes through the layers in turn, each measured behind those already
    corrected. One pass measures all behind the source; each further one sets one more layer right, so as
    many passes as there are layers give the layers in turn.

    Cost: ``passes`` + 1 forwards of ``batch.onnx`` for each frame, whatever the batch. Only batch serving
    shows it: the state never moves, so that in stream serving every frame is answered by the source.
    """

    needs = frozenset({"batch"})
    couples = False

    def __init__(self, tau: float = 0.9, lam: float = 1.0, passes: int = 1) -> None:
        if not 0 < tau <= 1:
            raise TtaError(f"tau is the source's share in 0..1 above 0, but is {tau}")
        if not lam > 0:
            raise TtaError(f"lam is an exponent above 0, but is {lam}")
        if passes < 1:
            raise TtaError(f"passes is a number of forwards of at least 1, but is {passes}")
        self.tau, self.lam, self.passes = tau, lam, passes

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state, which stays."""
        return State(manifest.hash, "leantta", slots)

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """The same state, and each frame's outputs under its own statistics."""
        answers = []
        for k in range(max(1, len(batch))):  # a batch without frames is for run to refuse
            frame, slots = batch[k : k + 1], dict(state.slots)
            for _ in range(self.passes):
                moments = run("batch", frame, slots, alpha=0.0).moments
                slots.update(self.blended(state.slots, moments))
            answers.append(run("batch", frame, slots, alpha=0.0).outputs)
        return state, {name: np.concatenate([a[name] for a in answers]) for name in answers[0]}

    def blended(
        self, source: Mapping[str, Array], moments: Mapping[str, Moments]
    ) -> dict[str, Array]:
        """Mean and var slots of one frame."""
        found = {}
        for layer, own in moments.items():
            if f"{layer}.mean" not in source:
                continue
            mean, var = (source[f"{layer}.{k}"].astype(np.float64) for k in ("mean", "var"))
            shift = (1 - self.tau) * (own.mean - mean)
            spread = np.maximum(var, np.finfo(np.float32).tiny)  # a channel that never varied
            d = -np.expm1(-(shift**2 / spread).sum())
            share = (1 - d**self.lam) * (1 - self.tau)  # of the frame's own
            found[f"{layer}.mean"] = np.float32(mean + share * (own.mean - mean))
            found[f"{layer}.var"] = np.float32(var + share * (own.var - var))
        return found
