"""``auto``: the last layers that see the most drift for their time.

For each candidate S of last layers,

    worth(S) = Σ_{ℓ ∈ S} J_ℓ / ms(S)

with J the symmetric Gaussian KL of a layer's input between clean and shifted samples (tta/moments.py) and
ms the time of one step on this machine, which grows with the way back to the first layer of S.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from tta.export.lift import Lifted, lift
from tta.export.step_graph import batch_graph, step_graph
from tta.moments import distance
from tta.records import Array, Moments
from tta.runtime.session import options

SHIFTS: Mapping[str, Callable[[Array, Any], Array]] = {
    "gain": lambda x, rng: x * np.float32(0.5),
    "offset": lambda x, rng: x + x.std(),
    "noise": lambda x, rng: x + rng.normal(0, x.std(), x.shape).astype(x.dtype),
}
FRAMES = 32  # samples that are shifted; their statistics stand for the source's
REPEATS = 5


@dataclass(frozen=True)
class Candidate:
    """One choice of layers: the drift they see, the time of their step, and the ratio."""

    layers: str
    drift: float
    ms: float

    @property
    def worth(self) -> float:
        """Drift a millisecond."""
        return self.drift / self.ms


def weigh(model: ir.Model, samples: Array, objective: Callable[..., Any]) -> list[Candidate]:
    """The candidates ``last:1``, ``last:2``, ``last:4``, ... and ``all``, the most worthwhile first.

    The drift of a choice is the sum over its layers of the symmetric Gaussian KL between clean and shifted
    samples, averaged over the shifts; its time is that of one step on one frame, one thread, best of several.

    Args:
        model: the canonical model.
        samples: preprocessed source samples ``(N, ...)``.
        objective: the loss of the step that is timed.
    """
    every = lift(model, ())
    names = [norm.name for norm in every.norms.values()]
    drift = _drift(every, samples)
    counts = [2**k for k in range(len(names).bit_length()) if 2**k < len(names)]
    specs = [*(f"last:{n}" for n in counts), "all"]
    found = []
    for spec in specs:
        lifted = lift(model, (), layers=spec)
        ms = _step_ms(lifted, objective, samples[:1])
        own = sum(drift.get(norm.name, 0.0) for norm in lifted.norms.values())
        found.append(Candidate(spec, own, ms))
    return sorted(found, key=lambda c: -c.worth)


def _session(graph: ir.Model) -> ort.InferenceSession:
    data = ir.to_proto(graph).SerializeToString()
    return ort.InferenceSession(data, options(), providers=["CPUExecutionProvider"])


def _feed(session: ort.InferenceSession, lifted: Lifted, x: Array) -> dict[str, Array]:
    scalars = {"alpha": np.array(0, np.float32), "sample_weight": np.ones(len(x), np.float32)}
    known = {**lifted.values, **scalars, str(lifted.input.name): x}
    return {i.name: known[i.name] for i in session.get_inputs()}


def _drift(lifted: Lifted, samples: Array) -> dict[str, float]:
    """Symmetric KL by layer between clean and shifted samples, averaged over the shifts."""
    session = _session(batch_graph(lifted))
    names = [o.name for o in session.get_outputs()]
    rng = np.random.default_rng(0)
    clean = samples[:FRAMES].astype(np.float32)

    def moments(x: Array) -> dict[str, Moments]:
        out = dict(zip(names, session.run(None, _feed(session, lifted, x))))
        return {
            norm.name: Moments(out[f"mean.{norm.name}"], out[f"var.{norm.name}"], 1.0)
            for norm in lifted.norms.values()
        }

    source = moments(clean)
    flat = {f"mean.{k}": m.mean for k, m in source.items()}
    flat |= {f"var.{k}": m.var for k, m in source.items()}
    shifted = [distance(moments(shift(clean, rng)), flat) for shift in SHIFTS.values()]
    return {name: float(np.mean([d[name] for d in shifted])) for name in shifted[0]}


def _step_ms(lifted: Lifted, objective: Callable[..., Any], frame: Array) -> float:
    session = _session(step_graph(lifted, "choice", objective))
    feed = _feed(session, lifted, frame.astype(np.float32))
    best = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        session.run(None, feed)
        best = min(best, time.process_time() - start)
    return best * 1e3
