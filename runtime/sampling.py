"""Statistics from a few frames of a stream: every k-th goes through ``batch.onnx``, which also answers it.

A frame under the state in force (alpha = 0) gives the moments of each layer's input. Over M frames they pool
to those of the whole set: with means mᵢ and variances vᵢ over equally many values,

    m = (1/M)·Σ mᵢ,    v = (1/M)·Σ (vᵢ + mᵢ²) - m²,

which is what one run on the M frames as a batch would have said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from tta.records import Array, Moments, Span, State, Step

KEPT = 8  # sampled frames that the governor looks at before a commit


class Observer(Protocol):
    """An adapter that learns from statistics alone."""

    def observe(self, state: State, step: Step) -> State:
        """The state after frames of these moments, measured under that state with alpha = 0."""


class Pool:
    """Pools the moments of single frames; one vector for all layers, since there may be many."""

    def __init__(self) -> None:
        self.frames = 0
        self._first: Mapping[str, Moments] = {}
        self._sum: Array = np.zeros(0)
        self._square: Array = np.zeros(0)
        self._outputs: list[Mapping[str, Array]] = []

    def add(self, step: Step) -> None:
        """Take in one frame's run of ``batch.onnx``."""
        moments = step.moments.values()
        mean = np.concatenate([m.mean for m in moments] or [np.zeros(0)]).astype(np.float64)
        var = np.concatenate([m.var for m in moments] or [np.zeros(0)])
        if not self.frames:
            self._first = step.moments
            self._sum, self._square = np.zeros_like(mean), np.zeros_like(mean)
        self.frames += 1
        self._sum += mean
        self._square += var + mean * mean
        self._outputs.append(step.outputs)

    def take(self) -> Step:
        """All frames as one step with their outputs ``(M, ...)``; the pool is empty afterwards."""
        m = self._sum / self.frames
        v = np.maximum(self._square / self.frames - m * m, 0.0)
        moments, at = {}, 0
        for layer, one in self._first.items():
            end = at + len(one.mean)
            mean, var = m[at:end].astype(np.float32), v[at:end].astype(np.float32)
            moments[layer] = Moments(mean, var, one.n * self.frames)
            at = end
        names = self._outputs[0]
        outputs = {name: np.concatenate([o[name] for o in self._outputs]) for name in names}
        span = Span(self.frames)
        self.clear()
        return Step(outputs, moments, span=span)

    def clear(self) -> None:
        """Forget all frames: they were measured under a state that is no longer in force."""
        self.frames, self._first, self._outputs = 0, {}, []
