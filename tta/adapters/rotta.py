"""RoTTA: a student learns from a slow teacher, under statistics that move slowly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tta.adapters._augment import strong_view
from tta.adapters.tent import norm_gradients
from tta.categorical import entropies
from tta.errors import TtaError
from tta.manifest import Manifest
from tta.optimizers import descend
from tta.protocols import Run
from tta.records import Array, Moments, State

_STUDENT = "student."


class Rotta:
    """Robust batch normalization and a teacher, for streams that are correlated and change.

    Teacher T is what is served, student S is in memory. On a round of frames x with weights w,

        μ ← (1-α)·μ + α·μ_batch,  σ² likewise        for each of T on x and S on x', before they normalize,
        L = (1/n)·Σ w_i·ℓ(p_T(x_i), p_S(x'_i)),      ℓ(p, q) = -Σ_k p_k·ln q_k,
        θ_S ← Adam(θ_S, ∇L),      θ_T ← (1-ν)·θ_T + ν·θ_S        over scales and biases,

    x' a strong view of x. Yuan, Xie, Li, "Robust test-time adaptation in dynamic scenarios", CVPR 2023,
    sections 3.2 to 3.4 (written from the published description; equation numbers not checked); α = 0.05, ν
    = 0.001, lr = 1e-3 as there. Its memory of frames is the buffer ``reservoir``, whose weights 2·E(A)
    reach L as every step's ``sample_weight``: run it with ``--buffer reservoir``; on plain batches w = 1.

    Departures: x' is moved, scaled, mirrored and noisy, without the paper's colour jitter, blur and
    rotation. A batch is answered by the teacher under its statistics after this batch; on a stream, single
    frames are answered by the committed teacher, as in the paper. E is doubled, to which Adam is blind.
    Cost: one forward, one step as Tent's, and a second copy of the norm slots with Adam's moments.
    """

    needs = frozenset({"batch", "step/cross_entropy"})

    def __init__(self, lr: float = 1e-3, alpha: float = 0.05, nu: float = 1e-3) -> None:
        for name, value in (("alpha", alpha), ("nu", nu)):
            if not 0 < value <= 1:
                raise TtaError(f"{name} is a share in 0..1 above 0, but is {value}")
        self.lr, self.alpha, self.nu = lr, alpha, nu

    @staticmethod
    def objective(op: Any, outputs: Mapping[str, Any]) -> Any:
        """Cross entropy ``(N,)`` in nats of ``logits (N, K)`` to the input ``target (N, K)``."""
        target = op.given("target", outputs["logits"])
        log_p = op.LogSoftmax(outputs["logits"], axis=-1)
        return op.Neg(op.ReduceSum(op.Mul(target, log_p), [-1], keepdims=0))

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state: teacher and student are one until the first step."""
        return State(manifest.hash, "rotta", slots)

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """One step of the student, and a small one of the teacher behind it."""
        teacher = state.slots
        seen = run("batch", batch, teacher, alpha=self.alpha)
        target, _ = entropies(seen.outputs["logits"])
        mine = {
            name.removeprefix(_STUDENT): value
            for name, value in state.memory.items()
            if name.startswith(_STUDENT)
        }
        student = {**teacher, **mine}
        view = strong_view(batch, state.step)
        step = run("step/cross_entropy", view, student, alpha=self.alpha, target=np.float32(target))
        learned, memory = descend("adam", student, norm_gradients(step), state.memory, self.lr)
        nu = np.float32(self.nu)
        slots = {name: (1 - nu) * teacher[name] + nu * value for name, value in learned.items()}
        slots |= self._followed(teacher, seen.moments)
        learned |= self._followed(student, step.moments)
        memory |= {f"{_STUDENT}{name}": value for name, value in learned.items()}
        return state.child(slots, memory), seen.outputs

    def _followed(
        self, slots: Mapping[str, Array], moments: Mapping[str, Moments]
    ) -> dict[str, Array]:
        """Mean and var slots after one more batch."""
        share, found = np.float32(self.alpha), {}
        for layer, batch in moments.items():
            for name, value in ((f"{layer}.mean", batch.mean), (f"{layer}.var", batch.var)):
                if name in slots:
                    found[name] = (1 - share) * slots[name] + share * value
        return found
