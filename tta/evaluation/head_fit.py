"""``tta fit``: a regression's last layer learns from a few labelled frames, in closed form.

The exported layer is the prior's mean, so that what is learned is the residual: with features φ whitened by
their source moments, y - y₀(φ) = φᵀw + noise under the Student-t model of ``tta.heads.student_t``, whose
noise ε is chosen by its evidence. No frame at all leaves the exported layer; many outvote it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tta.bundle import Bundle
from tta.errors import TtaError
from tta.evaluation.interval import student
from tta.evaluation.task_material import TaskMaterial
from tta.heads.student_t import StudentT
from tta.records import Array, State
from tta.runtime.store import check_target, load_state, save_state
from tta.terminal import Terminal

NOISES = tuple(10.0 ** (k / 2) for k in range(-4, 9))  # ε that are tried
CHUNK = 64
APART = 2  # frames from a learned one within which no other judges
Z = 1.644854  # 95 % point of the normal distribution: intervals of 90 %
SLOTS = ("head.weight", "head.bias")


@dataclass(frozen=True, slots=True)
class Fitted:
    """A head's change.

    Attributes:
        state: the state with it.
        head: the posterior of the residual, in units of ``spread``.
        spread: of the residuals ``(p,)``.
        mean, scale: that whiten features ``(D,)``.
    """

    state: State
    head: StudentT
    spread: Array
    mean: Array
    scale: Array

    def predict(self, features: Array, answers: Array) -> tuple[Array, Array]:
        """Answers ``(n, p)`` and half widths of their 90 % intervals, from the answers before the fit."""
        freedom, mean, scale = self.head.predict(whitened(features, self.mean, self.scale))
        half = student(freedom, Z) * scale * self.spread
        return answers + mean * self.spread, half


def fit(
    state: State,
    features: Array,
    answers: Array,
    targets: Array,
    moments: tuple[Array, Array],
    forget: float = 1.0,
) -> Fitted:
    """The state whose last layer has learned from n labelled frames.

    Args:
        state: of a bundle with a linear last layer.
        features: ``(n, D)`` under that state, oldest first.
        answers: ``(n, p)`` likewise.
        targets: ``(n, p)``.
        moments: source mean and variance of the features.
        forget: what a frame weighs against the next one, at most 1.
    """
    mean, scale = moments[0].astype(np.float64), np.sqrt(moments[1].astype(np.float64) + 1e-6)
    phi = whitened(features, mean, scale)
    residual = np.asarray(targets, np.float64) - answers
    spread = np.sqrt((residual**2).mean(0)) + 1e-12
    weight = forget ** np.arange(len(phi) - 1, -1, -1) if forget < 1 else None
    heads = [
        StudentT.prior(phi.shape[1], residual.shape[1], noise=noise).with_samples(
            phi, residual / spread, weight
        )
        for noise in NOISES
    ]
    head = max(heads, key=StudentT.evidence)
    change = head.weights * spread  # (D + 1, p)
    tilt = change[:-1] / np.sqrt(len(mean)) / scale[:, None]
    slots = {
        "head.weight": np.float32(state.slots["head.weight"] + tilt.T),
        "head.bias": np.float32(state.slots["head.bias"] + change[-1] - mean @ tilt),
    }
    return Fitted(state.child(slots), head, spread, mean, scale)


def whitened(features: Array, mean: Array, scale: Array) -> Array:
    """Features ``(n, D)`` as the head sees them, ``(n, D + 1)`` with a constant; their mean square is 2."""
    flat = (np.asarray(features, np.float64) - mean) / scale / np.sqrt(len(mean))
    return np.concatenate([flat, np.ones((len(flat), 1))], 1)


def fit_command(
    bundle: str,
    data: str,
    out: str,
    *,
    state: str | None = None,
    learn: int | None = None,
    spread: bool = False,
    forget: float = 1.0,
    adapter: str = "bn_stats",
    terminal: Terminal | None = None,
) -> Fitted:
    """Fit, judge on the frames that were not learned from, and write the state.

    Args:
        bundle: of a regression with a linear last layer.
        data: .npz with frames and targets, oldest first.
        out: file of the state.
        state: adapted state to fit on; default the source.
        learn: so many frames are learned from and the others judge; default half of them.
        spread: these are evenly spaced, as when somebody labels one now and then, and not the first; what is
            within ``APART`` frames of one judges nothing, since windows overlap.
        forget: see ``fit``.
        adapter: method that goes on from the state, where there is no ``state``.
        terminal: where to print.

    Raises:
        TtaError: another task, no linear last layer, or too few frames.
    """
    terminal = terminal or Terminal()
    opened = Bundle(bundle)
    manifest = opened.manifest
    if manifest.task != "regress":
        raise TtaError(
            f"fit is for regressions, but the task of {manifest.name} is {manifest.task}: label frames for "
            "canaries instead"
        )
    if not set(SLOTS) <= set(opened.source_slots):
        raise TtaError(f"{manifest.name} does not end in a linear layer, so no head can be fitted")
    if not 0 < forget <= 1:
        raise TtaError(f"--forget is a share above 0 and at most 1, but is {forget:g}")
    check_target(out)
    material = TaskMaterial(opened, data)
    count = len(material.targets)
    first = count // 2 if learn is None else learn
    if not 1 <= first < count:
        raise TtaError(
            f"{data} has {count} frames: --learn takes 1 to {count - 1} of them, the rest judge"
        )
    base = State(manifest.hash, adapter, opened.source_slots)
    base = base if state is None else load_state(state, opened)
    features, answers = _seen(material, base)
    source = (
        answers if state is None else _seen(material, replace(base, slots=opened.source_slots))[1]
    )
    moments = _moments(opened, features)
    learned, judging = _split(count, first, spread)
    truth = material.targets
    found = fit(base, features[learned], answers[learned], truth[learned], moments, forget)
    save_state(Path(out).expanduser(), found.state, opened)
    judged = truth[judging]
    values, half = found.predict(features[judging], answers[judging])
    rows = [("source", *_figures(source[judging], judged), "")]
    if state is not None:
        rows.append(("the state", *_figures(answers[judging], judged), ""))
    inside = float((np.abs(values - judged) <= half).mean())
    rows.append(("fitted", *_figures(values, judged), f"{inside:.2f}"))
    terminal.table(
        f"{manifest.name}: last layer fitted to {first} frames, judged on {len(judging)}",
        ("head", "mean absolute error", "rmse", "inside the 90 % interval"),
        rows,
    )
    terminal.say(
        f"{out}: noise {found.head.noise:g} by evidence; serve it with tta run --state {out} --governor off"
    )
    return found


def _split(count: int, first: int, spread: bool) -> tuple[Array, Array]:
    """Places that are learned from, and places that judge.

    Raises:
        TtaError: no frame is left to judge.
    """
    every = np.arange(count)
    if not spread:
        return every[:first], every[first:]
    learned = np.unique(np.linspace(0, count - 1, first).round().astype(int))
    near = np.abs(every[:, None] - learned).min(1)
    judging = every[near > APART]
    if not judging.size:
        raise TtaError(
            f"--spread leaves none of {count} frames to judge, since those within {APART} of a learned one "
            "do not: take fewer with --learn"
        )
    return learned, judging


def _moments(bundle: Bundle, features: Array) -> tuple[Array, Array]:
    known = bundle.calibration()
    if "features.mean" in known:
        return known["features.mean"], known["features.var"]
    return features.mean(0), features.var(0)


def _seen(material: TaskMaterial, state: State) -> tuple[Array, Array]:
    """Features ``(n, D)`` and answers ``(n, p)`` of all frames under a state."""
    features, answers = [], []
    manifest = material.bundle.manifest
    for start in range(0, len(material.targets), CHUNK):
        items = np.arange(start, min(start + CHUNK, len(material.targets)))
        x = material.prepared(material.readings.read(items, "none", 0))
        step = material.model.adapting.run("batch", x, state.slots, alpha=0.0)
        features.append(step.outputs["features"].reshape(len(x), -1))
        answers.append(step.outputs[manifest.primary].reshape(len(x), -1))
    return np.concatenate(features), np.concatenate(answers).astype(np.float64)


def _figures(answers: Array, targets: Array) -> tuple[str, str]:
    apart = answers - targets
    return f"{np.abs(apart).mean():.4g}", f"{np.sqrt((apart**2).mean()):.4g}"


__all__ = ["Fitted", "fit", "fit_command", "whitened"]
