"""A control for the Hebbian change: the same step in a direction that has learned nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from tta.adapters.tent import Tent
from tta.errors import TtaError
from tta.manifest import Manifest
from tta.protocols import Run
from tta.records import Array, State, frozen

TURNS = ("hebbian", "fresh", "steady")


class Sham(Tent):
    """Tent behind Hebbian layers whose filters turn as far as the Hebbian change says, but elsewhere.

    The Hebbian change of this very batch at the present filters, t_k = w'_k·‖w_k‖²/(w'_k·w_k) - w_k, is
    orthogonal to w_k. Its place takes a random s_k with s_k·w_k = 0 and ‖s_k‖ = ‖t_k‖, filter by filter, and

        w_k ← (w_k + s_k)·‖w⁰_k‖/‖w_k + s_k‖

    - ``turn``: ``fresh`` draws a direction a step, whose path is a random walk; ``steady`` draws one when
      the source state is left and keeps to it, as a drift does; ``hebbian`` takes t_k itself, and so is nhl;
    - ``lr = 0`` leaves scales and biases alone, and costs no gradient.

    The bundle needs the graph ``step/change`` that ``tests.bench.nhl_study.bundles`` adds. Outputs are those
    before the update of scales and biases, as nhl's ``predict=pre``. All norms are trained, as ``mode=all``.
    """

    needs = frozenset({"batch", "step/entropy", "step/change"})

    def __init__(
        self,
        eta: float = 1e-3,
        turn: Literal["hebbian", "fresh", "steady"] = "fresh",
        anti: bool = False,
        normalize: Literal["max", "mean"] = "max",
        t_invert: float | None = None,
        centre: bool = False,
        lr: float = 1e-3,
        optimizer: str = "adam",
        alpha: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(lr, optimizer, alpha=alpha, graph="entropy")
        self.needs = Sham.needs
        if turn not in TURNS:
            raise TtaError(f"sham's turn is one of {', '.join(TURNS)}, but is {turn!r}")
        self.turn, self.seed = turn, seed
        self.steer: dict[str, Any] = {
            "eta": eta, "anti": float(anti), "max_norm": float(normalize == "max"),
            "centre": float(centre),
        }  # fmt: skip
        if t_invert is not None:
            self.steer["t_invert"] = t_invert
        self._source: Mapping[str, Array] = {}

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state with an empty optimizer."""
        self._source = slots
        return State(manifest.hash, "sham", slots)

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """One turn of the filters and one optimizer step of scales and biases."""
        new = run("step/change", batch, state.slots, alpha=self.alpha, **self.steer).new
        turned = {name: self._turned(state, name, w) for name, w in new.items()}
        if not self.lr:
            slots = {**state.slots, **turned}
            outputs = run("batch", batch, slots, alpha=self.alpha).outputs
            return state.child(turned), outputs
        moved = replace(state, slots=frozen({**state.slots, **turned}))
        step = run("step/entropy", batch, moved.slots, alpha=self.alpha)
        return self.update(moved, step), step.outputs

    def _turned(self, state: State, name: str, hebbian: Array) -> Array:
        """The new value of a weight slot whose first axis counts filters."""
        if self.turn == "hebbian":
            return hebbian
        rng = np.random.default_rng([self.seed, state.step if self.turn == "fresh" else 0])
        w, source = state.slots[name], self._source[name]
        s = tangent(w, rng.normal(size=w.shape))
        s *= _norms(tangential_change(w, hebbian)) / np.maximum(_norms(s), 1e-30)
        moved = w + s
        kept: Array = (moved * _norms(source) / _norms(moved)).astype(np.float32)
        return kept


def tangential_change(w: Array, new: Array) -> Array:
    """The change orthogonal to each filter that leads from w to the direction of ``new``, float64."""
    w, new = (np.asarray(v, np.float64) for v in (w, new))
    return new * _dots(w, w) / _dots(w, new) - w


def tangent(w: Array, g: Array) -> Array:
    """Each filter of g ``(K, ...)`` without its part along w, float64."""
    w = np.asarray(w, np.float64)
    return g - w * (_dots(w, g) / _dots(w, w))


def _dots(a: Array, b: Array) -> Array:
    inner = tuple(range(1, a.ndim))
    dots: Array = (a * b).sum(inner, keepdims=True)
    return dots


def _norms(a: Array) -> Array:
    return np.sqrt(_dots(np.asarray(a, np.float64), np.asarray(a, np.float64)))


__all__ = ["Sham"]
