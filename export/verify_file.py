"""Checks a written bundle against the ONNX file it came from, and refuses it on a mismatch.

Outputs are compared with the file's own in onnxruntime. No second implementation of the gradient is at
hand, so gradients are checked against central differences of the graph's own objective along directions d,

    ⟨g, d⟩ ≈ (L(s + h·d) - L(s - h·d)) / 2h

one along the gradient of each checked layer and one along all; the layers are the first, middle and last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.errors import ExportError, MismatchError
from tta.export.lift import Lifted
from tta.export.objectives import takes_layers
from tta.export.onnx_file import OnnxFile
from tta.export.verify import OUTPUT_TOLERANCE, Check
from tta.records import Array, Step
from tta.runtime.session import AdaptSession, InferSession

DIFFERENCE_TOLERANCE = 0.05  # of the derivative: float32, and ReLUs that cross zero within h
CHANGES = (3e-3, 1e-3, 1e-2, 3e-2, 3e-4)  # of the objective, relative, that h is chosen for
ROUGH = (
    0.2  # the same where the objective is a sum of absolute values, which kinks channel by channel
)
LARGEST = 0.03  # h at most, as a share of the slots' own size
SHARES = (1e-3, 3e-4, 1e-4, 3e-3, 3e-5)  # of that size, tried after those
SMOOTH = ("step/entropy", "step/nhl", "step/actmad")  # objectives without stopped gradients
LEAST = 0.05  # of the largest slot's gradient: smaller ones drown in float32
FRAMES, TRIES = 3, 4
MOVED = 0.2  # of the mean size of a slot


def verify_file(
    model: OnnxFile,
    lifted: Lifted,
    bundle: Bundle,
    samples: Array,
    objectives: Mapping[str, tuple[Callable[..., Any], bool]],
    constant_statistics: bool = False,
    sources: Mapping[str, tuple[Array, Array]] | None = None,
) -> list[Check]:
    """All checks of a bundle; each passed.

    Args:
        model: the file.
        lifted: its layers.
        bundle: the written bundle.
        samples: inputs to check on ``(N, ...)``.
        objectives: objective function and whether the Hebbian change is in the graph, by graph name.
        constant_statistics: whether the gradients take batch statistics for constants.
        sources: unused; torch's checks take it.

    Raises:
        MismatchError: an output or gradient is wrong; the message names what.
    """
    batch = samples[:8]
    want = dict(zip(lifted.outputs, model.outputs(batch)))
    session = AdaptSession(bundle)
    try:
        served = InferSession(bundle).run(batch)
    except Exception as error:  # onnxruntime's own kinds
        raise _one_size(model) from error
    checks = [_same("fused inference", model, want, served)]
    step = session.run("batch", batch, bundle.source_slots, alpha=0.0)
    checks.append(_same("batch graph, alpha = 0", model, want, step.outputs))
    for name, (objective, _) in objectives.items():
        if name not in SMOOTH:
            checks.append(Check(f"gradients of {name}", 0.0, "not compared"))
            continue
        for alpha in (0.0,) if constant_statistics else (0.0, 0.5, 1.0):
            layered = takes_layers(objective)
            if layered and alpha == 1:
                continue
            checks.append(_gradients(session, bundle, name, samples, alpha, layered))
    return checks


def _one_size(model: OnnxFile) -> ExportError:
    return ExportError(
        f"{model.path.name} works for batches of {model.batch or 'one size'} only, since a constant in it "
        "holds the batch size: export it anew with a dynamic first axis"
    )


def _same(what: str, model: OnnxFile, want: Mapping[str, Array], got: Mapping[str, Array]) -> Check:
    worst, equal = 0.0, True
    for k, (name, y) in enumerate(want.items()):
        value = got[name]
        if value.shape != y.shape:
            raise _one_size(model)
        if model.probabilities and k == 0:
            value = np.exp(value - value.max(-1, keepdims=True))
            value = value / value.sum(-1, keepdims=True)
        equal = equal and np.array_equal(value, y)
        error = float(np.abs(value - y).max()) / max(1.0, float(np.abs(y).max()))
        worst = max(worst, error / OUTPUT_TOLERANCE)
        if not error <= OUTPUT_TOLERANCE:
            raise MismatchError(
                f"{what}: output {name!r} differs from {model.path.name} by {error:.2e} (allowed "
                f"{OUTPUT_TOLERANCE:.0e}); the file may mix the frames of a batch"
            )
    return Check(what, worst, "bit-equal" if equal else "tolerance")


def _gradients(
    session: AdaptSession,
    bundle: Bundle,
    graph: str,
    samples: Array,
    alpha: float,
    layered: bool,
) -> Check:
    """Compare on up to ``TRIES`` batches; a wrong rule is wrong on every one.

    An objective that measures a distance from the source has its kink there, so it is checked away from it.
    """
    what = f"gradients of {graph}, N = {FRAMES}, alpha = {alpha:g}"
    tolerance = ROUGH if layered else DIFFERENCE_TOLERANCE
    inputs: dict[str, Any] = {"eta": 0.0} if graph == "step/nhl" else {}
    best, at = float("inf"), ""
    for attempt in range(TRIES):
        rng = np.random.default_rng(attempt)
        rows = (
            rng.integers(0, len(samples), FRAMES) if attempt else np.arange(FRAMES) % len(samples)
        )
        noise = rng.normal(0, 0.1 * samples.std(), (FRAMES, *samples.shape[1:]))
        batch = (samples[rows] + noise).astype(np.float32)

        def run(slots: Mapping[str, Array], batch: Array = batch) -> Step:
            return session.run(graph, batch, slots, alpha=alpha, **inputs)

        slots = dict(bundle.source_slots)
        for slot in bundle.manifest.named("scale", "bias") if layered else ():
            value = slots[slot.name]
            moved = rng.normal(0, MOVED, value.shape) * (np.abs(value).mean() + 1e-3)
            slots[slot.name] = np.float32(value + moved)
        error, where = _missed(run, slots, tolerance)
        if error < best:
            best, at = error, where
        if best <= 1:
            return Check(what, best, "central differences")
    raise MismatchError(
        f"{what}: along {at} the gradient misses central differences by "
        f"{best * tolerance:.1%}; an operator behind it has a wrong gradient rule"
    )


def _missed(
    run: Callable[[Mapping[str, Array]], Step], source: dict[str, Array], tolerance: float
) -> tuple[float, str]:
    """Largest error in tolerances, and along which slots."""
    step = run(source)
    level = abs(float(np.mean(step.objective))) + 1e-3
    gradients = {k: g.astype(np.float64) for k, g in step.gradients.items() if g.any()}
    top = max((float(np.linalg.norm(g)) for g in gradients.values()), default=0.0)
    heavy = [k for k, g in gradients.items() if np.linalg.norm(g) > LEAST * top]
    if not heavy:
        return 0.0, ""
    groups = [heavy, *([k] for k in dict.fromkeys((heavy[0], heavy[len(heavy) // 2], heavy[-1])))]
    worst, where = 0.0, ""
    for group in groups:
        size, scale = _norm(gradients, group), _norm(source, group) + 1e-3
        error = float("inf")
        by_change = [min(change * level / (2 * size), LARGEST * scale) for change in CHANGES]
        for h in (*by_change, *(share * scale for share in SHARES)):
            loss = []
            for sign in (1.0, -1.0):
                moved = {k: np.float32(source[k] + sign * h * gradients[k] / size) for k in group}
                loss.append(float(np.mean(run({**source, **moved}).objective, dtype=np.float64)))
            error = min(error, abs((loss[0] - loss[1]) / (2 * h) - size) / size)
            if error <= tolerance:
                break
        if error / tolerance > worst:
            worst = error / tolerance
            where = group[0] if len(group) == 1 else "all slots"
    return worst, where


def _norm(values: Mapping[str, Array], names: Sequence[str]) -> float:
    return float(np.sqrt(sum(float((values[k].astype(np.float64) ** 2).sum()) for k in names)))
