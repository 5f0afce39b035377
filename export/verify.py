"""Checks a written bundle against the torch model it came from, and refuses it on a mismatch.

Fused inference must equal the model to 1e-4, and every gradient g the autograd gradient g' by

    ‖g - g'‖ ≤ 1e-3·‖g'‖ + 1e-6·max over slots ‖g'‖.

A ReLU network's gradient jumps where an activation crosses zero, and batch statistics over few values are
ill-conditioned: there torch's own float32 gradient misses its float64 one by more than that. So a batch
that fails is followed by others, and where torch itself misses on most of them, the graph need only be about
as near to float64 as torch is. A wrong rule is wrong on every batch, and for other N and alpha as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tta.bundle import Bundle
from tta.errors import MismatchError
from tta.export.lift import Lifted
from tta.export.objectives import takes_layers
from tta.export.reference import Adaptive, Rule, adaptive, oracle
from tta.records import Array, Step
from tta.runtime.session import AdaptSession, InferSession

OUTPUT_TOLERANCE = 1e-4
TRIES = 8
LARGE_INPUT = 2**16  # numbers a frame from which float64 autograd takes seconds a check
ENOUGH = 3  # batches after which torch's own misses may excuse the graph's
FLOAT32_NOISE = 3.0  # times that the graph may then be off more than torch, in the median
ONE_SAMPLE_NOISE = (
    10.0  # the same for statistics over one sample: the graph takes variances in one pass
)
_RULE = {"eta": 1e-2, "anti": 1.0, "max_norm": 1.0, "t_invert": 2.0}


@dataclass(frozen=True)
class Check:
    """One comparison: what, its largest error in units of its tolerance, and how it was accepted."""

    what: str
    error: float
    accepted: str


def verify(
    model: torch.nn.Module,
    lifted: Lifted,
    bundle: Bundle,
    samples: Array,
    objectives: Mapping[str, tuple[Callable[..., Any], bool]],
    constant_statistics: bool = False,
    sources: Mapping[str, tuple[Array, Array]] | None = None,
) -> list[Check]:
    """All checks of a bundle; each passed.

    Args:
        model: the source model.
        lifted: its layers.
        bundle: the written bundle.
        samples: inputs to check on ``(N, ...)``.
        objectives: objective function and whether the Hebbian change is in the graph, by graph name.
        constant_statistics: whether the gradients take batch statistics for constants.
        sources: what norm layers put out on source data, for objectives that take layers.

    Raises:
        MismatchError: an output or gradient is wrong; the message names the layer.
    """
    checks = [_inference(model, lifted, bundle, samples)]
    session = AdaptSession(bundle)
    double, single = adaptive(model, lifted), adaptive(model, lifted)
    single.model.float()
    for norm in (*double.norms.values(), *single.norms.values()):
        norm.constant = constant_statistics
    for name, (objective, hebbian) in objectives.items():
        rule = Rule(1e-2, True, True, 2.0) if hebbian and double.hebbian else None
        layered = takes_layers(objective)
        if layered and double.missing:
            checks.append(Check(f"gradients of {name}", 0.0, "not compared"))
            continue
        for n, alpha in _cases(samples):
            if layered and alpha == 1:  # a norm under its own batch puts out what its slots say
                continue
            case = _Case(
                double, single, session, bundle, lifted, name, objective, rule, n, alpha, sources
            )
            checks.append(case.check(samples))
    if double.missing:
        checks.append(
            Check(f"no torch module for {', '.join(double.missing)}", 0.0, "not compared")
        )
    return checks


def _cases(samples: Array) -> list[tuple[int, float]]:
    """Batch sizes and alphas to check: all pairs, or for large inputs each value in one pair."""
    alphas = (1.0, 0.5, 0.0)
    if samples[0].size < LARGE_INPUT:
        return [(n, alpha) for n in (1, 2, max(3, min(8, len(samples)))) for alpha in alphas]
    return [(2, 1.0), (1, 0.5), (3, 0.0)]


def _inference(model: torch.nn.Module, lifted: Lifted, bundle: Bundle, samples: Array) -> Check:
    batch = samples[:8]
    with torch.no_grad():
        out = model.eval()(torch.as_tensor(batch))
    expected = dict(zip(lifted.outputs, out if isinstance(out, tuple | list) else (out,)))
    got = InferSession(bundle).run(batch)
    worst = 0.0
    for name, value in expected.items():
        y = value.numpy()
        error = float(np.abs(got[name] - y).max()) / max(1.0, float(np.abs(y).max()))
        worst = max(worst, error / OUTPUT_TOLERANCE)
        if not error <= OUTPUT_TOLERANCE:
            where = _first_wrong(model, lifted, bundle, batch)
            raise MismatchError(
                f"output {name!r} of infer.onnx differs from the model by {error:.2e} "
                f"(allowed {OUTPUT_TOLERANCE:.0e}); {where}"
            )
    return Check("fused inference", worst, "tolerance")


def _first_wrong(model: torch.nn.Module, lifted: Lifted, bundle: Bundle, batch: Array) -> str:
    """Name the first layer whose input differs."""
    reference = adaptive(model, lifted)
    for norm in reference.norms.values():
        norm.alpha = 0.0
    with torch.no_grad():
        reference.model(torch.as_tensor(batch, dtype=torch.float64))
    step = AdaptSession(bundle).run("batch", batch, bundle.source_slots, alpha=0.0)
    return _wrong_layer(reference, step)


def _wrong_layer(reference: Adaptive, step: Step) -> str:
    for name, norm in reference.norms.items():
        got, want = step.moments[name].mean, norm.batch_mean.numpy()
        if not np.abs(got - want).max() <= 1e-3 * (1e-3 + np.abs(want).max()):
            return f"the first layer whose input differs is {name}"
    return "all norm layers' inputs agree, so the difference lies behind the last of them"


@dataclass
class _Case:
    """One gradient comparison: one graph, batch size and alpha."""

    double: Adaptive
    single: Adaptive
    session: AdaptSession
    bundle: Bundle
    lifted: Lifted
    graph: str
    objective: Callable[..., Any]
    rule: Rule | None
    n: int
    alpha: float
    sources: Mapping[str, tuple[Array, Array]] | None = None

    def check(self, samples: Array) -> Check:
        what = f"gradients of {self.graph}, N = {self.n}, alpha = {self.alpha:g}"
        rng = np.random.default_rng(self.n)
        misses: list[tuple[float, float, str]] = []
        for attempt in range(TRIES):
            rows = np.arange(self.n) if not attempt else rng.integers(0, len(samples), self.n)
            batch = samples[rows % len(samples)]
            if attempt or self.n > len(samples):  # repeated rows would make statistics degenerate
                spread = 0.1 * samples.std()
                batch = batch + rng.normal(0, spread, batch.shape).astype(batch.dtype)
            error, theirs, where = self._errors(batch)
            if error <= 1:
                return Check(what, error, "tolerance")
            misses.append((error, theirs, where))
            error, _, where = min(misses)
            if len(misses) >= ENOUGH and self._excused(misses):
                return Check(what, error, "as near as torch's own float32")
        raise MismatchError(
            f"{what}: {where} is off by {error:.1f} times the tolerance; "
            "the layer, or an operator behind it, has a wrong gradient rule"
        )

    def _excused(self, misses: Sequence[tuple[float, float, str]]) -> bool:
        """Whether torch itself misses on most batches, and the graph hardly by more."""
        ours, theirs = (float(np.median([miss[k] for miss in misses])) for k in (0, 1))
        noise = ONE_SAMPLE_NOISE if self.n == 1 and self.alpha == 1 else FLOAT32_NOISE
        return theirs > 1 and ours <= noise * theirs

    def _errors(self, batch: Array) -> tuple[float, float, str]:
        """Largest error in tolerances, that of torch in float32, and where ours is."""
        names = list(self.lifted.outputs)
        inputs: dict[str, Any] = dict(_RULE) if self.rule else {}
        drawn: dict[str, Array] = {}
        _, want = self._oracle(self.double, batch, names, drawn)
        step = self.session.run(
            self.graph, batch, self.bundle.source_slots, alpha=self.alpha, **inputs, **drawn
        )
        ours, where = _worst(step.gradients, want)
        for layer, module in self.double.hebbian.items():
            new = step.new.get(f"{layer}.weight")
            if new is not None and self.rule:
                scale = float(np.abs(new).max())
                off = float(np.abs(new - module.new.numpy()).max()) / (1e-5 * scale)
                if off > ours:
                    ours, where = off, f"the Hebbian change of {layer}"
        if ours <= 1:
            return ours, 0.0, where
        _, theirs = self._oracle(self.single, batch, names)
        return ours, _worst(theirs, want)[0], where

    def _oracle(
        self,
        reference: Adaptive,
        batch: Array,
        names: Sequence[str],
        drawn: dict[str, Array] | None = None,
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        given = (self.alpha, self.rule, self.sources, drawn)
        return oracle(reference, batch, self.objective, names, *given)


def _worst(got: Mapping[str, Array], want: Mapping[str, Array]) -> tuple[float, str]:
    """Largest error in units of the tolerance, and the slot that has it."""
    common = [k for k in want if k in got]
    top = max((float(np.linalg.norm(want[k])) for k in common), default=0.0)
    errors = {
        k: float(np.linalg.norm(got[k] - want[k]))
        / (1e-3 * float(np.linalg.norm(want[k])) + 1e-6 * top + 1e-30)
        for k in common
    }
    finite = all(np.isfinite(got[k]).all() for k in common)
    where = max(errors, key=lambda k: errors[k]) if errors else ""
    return (errors.get(where, 0.0) if finite else float("inf")), where
