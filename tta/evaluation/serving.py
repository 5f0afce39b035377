"""How the frames of a cell are answered: by a method that is fed directly, or through a stream.

Fed directly, a method adapts on every batch and its own outputs answer it, as in published protocols: no
governor, no monitor. Through a ``Stream`` everything is as in ``tta run``: the governor decides what is
adapted on and committed; served ``stream``, each frame is answered at once by the state committed so far,
and served ``batch``, a batch waits.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from tta.bundle import Bundle
from tta.categorical import log_softmax
from tta.errors import TtaError
from tta.governor import Mode
from tta.protocols import Run
from tta.records import Array, Frame, Result, State
from tta.runtime.datasets import Dataset
from tta.runtime.loop import adapt_and_serve, advance
from tta.runtime.method import fewest, make_adapter, source_state
from tta.runtime.model import Model
from tta.runtime.stream import Stream

Serve = Literal["batch", "stream"]
ROUNDS = ("commits", "rollbacks", "resets", "holds")  # what is counted, as in ``runtime.outcome``


class Asked(Protocol):
    """Data and the bundle that is asked, as ``Material`` and ``TaskMaterial`` have them."""

    bundle: Bundle
    data: Dataset

    @property
    def model(self) -> Model:
        """The bundle's sessions."""

    def prepared(self, readings: Array) -> Array:
        """Model inputs of readings."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers to some frames.

    Attributes:
        outputs: the primary output ``(n, ...)``.
        classes: ``(n,)``, -1 where the model said nothing finite, or is no classifier.
        confidence: ``(n,)`` probability of that class.
        post: ``(n,)`` classes after the update, -1 where not asked for.
        took_s: seconds that it took.
    """

    outputs: Array
    classes: Array
    confidence: Array
    post: Array
    took_s: float


class Direct:
    """A method that is fed batch by batch.

    Args:
        material: gives bundle and inputs.
        adapter: ``name?option=value``.
        run: runs a graph of the bundle.
        post: also answer with the state after each step, one more forward.

    Attributes:
        rounds: how often each of ``ROUNDS`` happened: commits are steps after which the state was another.
    """

    def __init__(self, material: Asked, adapter: str, run: Run, post: bool = False) -> None:
        self._material, self._run, self._post = material, run, post
        self._method: Any = make_adapter(adapter)
        self._least = fewest(self._method, material.bundle)
        self.rounds = Counter[str]()
        self.begin()

    @property
    def steps(self) -> int:
        """Steps since the source."""
        return int(self._state.step)

    def begin(self) -> None:
        """Go back to the source and forget all."""
        model = self._material.model
        self._state: State = source_state(self._method, model.bundle, model.calibration)

    def load(self, readings: Array) -> None:
        """Have the method load its graphs, by a step of which nothing is kept."""
        if len(readings) >= self._least:
            self._stepped(self._material.prepared(readings))
        self.rounds.clear()

    def answer(self, readings: Array) -> Answered:
        """Answer a batch of frames ``(n, ...)`` as a source gives them, or what is left at a visit's end."""
        x, before = self._material.prepared(readings), self._state
        manifest = self._material.bundle.manifest
        primary = manifest.primary
        began = time.perf_counter()
        if len(x) < self._least:  # a rest too small for batch statistics
            outputs = self._run("batch", x, before.slots, alpha=0.0).outputs
        else:
            self._state, outputs = self._stepped(x)
        took_s = time.perf_counter() - began
        if manifest.task != "classify":
            self.rounds["commits"] += self._state is not before
            return Answered(outputs[primary], *_no_class(len(x)), took_s)
        classes, confidence = answers(outputs[primary])
        late = np.full(len(x), -1)
        if self._post and self._state is before:  # nothing was learned: the answer stays
            late = classes
        elif self._post:
            share = _share(self._method, len(x))
            late = answers(self._run("batch", x, self._state.slots, alpha=share).outputs[primary])[
                0
            ]
        self.rounds["commits"] += self._state is not before
        return Answered(outputs[primary], classes, confidence, late, took_s)

    def _stepped(self, x: Array) -> tuple[State, Mapping[str, Array]]:
        """The state after a step; the old one where the step ends in values that no state can hold."""
        state = self._state
        try:
            after, outputs = self._method.adapt(state, x, self._run)
        except ValueError:
            self.rounds["rollbacks"] += 1
            share = _share(self._method, len(x))
            return state, self._run("batch", x, state.slots, alpha=share).outputs
        return after, outputs


class Streamed:
    """A stream as ``tta run`` has it, without drift metrics.

    Args:
        material: gives the sessions.
        adapter: ``name?option=value``.
        batch: frames a step.
        serve: ``stream`` or ``batch``.
        governor: ``auto``, ``always`` or ``off``.
        buffer: which frames a step is on.
    """

    def __init__(
        self,
        material: Asked,
        adapter: str,
        batch: int,
        serve: Serve,
        governor: Mode,
        buffer: str = "batch",
    ) -> None:
        self._material, self._adapter, self._batch = material, adapter, batch
        self._serve, self._governor, self._buffer = serve, governor, buffer
        self._seq, self._earlier = 0, Counter[str]()
        self._stream = self._made()

    def _made(self) -> Stream:
        model = self._material.model
        return Stream(
            model,
            self._adapter,
            batch=self._batch,
            governor=self._governor,
            metrics=[],
            buffer=self._buffer,
        )

    @property
    def rounds(self) -> Counter[str]:
        """How often each of ``ROUNDS`` happened, in all."""
        counts = self._stream.counts
        return self._earlier + Counter({name: getattr(counts, name) for name in ROUNDS})

    @property
    def steps(self) -> int:
        """Steps since the source."""
        return int(self._stream.current.step)

    def begin(self) -> None:
        """A new stream: neither its governor nor its buffer remembers the old one."""
        self._earlier = self.rounds
        self._stream = self._made()

    def load(self, readings: Array) -> None:
        """Have the method load its graphs, by a round on a stream that nobody serves."""
        stream = self._made()
        x = self._material.prepared(readings)
        if len(x) >= stream.fewest:
            stream.consider(x)

    def answer(self, readings: Array) -> Answered:
        """See ``Direct.answer``."""
        began, results = time.perf_counter(), list[Result]()
        for reading in readings:
            frame = Frame(reading, self._seq / self._material.data.fps, self._seq)
            self._seq += 1
            results += advance(self._stream, frame, self._serve)
        if self._serve == "batch" and len(self._stream.waiting):  # a visit's end: nothing waits on
            results += adapt_and_serve(self._stream)
        took_s = time.perf_counter() - began
        if lost := [result.skipped for result in results if result.prediction is None]:
            raise TtaError(f"{self._material.data.name} has a frame that cannot be used: {lost[0]}")
        manifest = self._material.bundle.manifest
        outputs = np.stack(
            [r.prediction.outputs[manifest.primary] for r in results if r.prediction]
        )
        if manifest.task != "classify":
            return Answered(outputs, *_no_class(len(outputs)), took_s)
        said = np.stack(
            [result.prediction.probabilities for result in results if result.prediction]
        )
        classes, confidence = _finite(said.argmax(1), said.max(1))
        return Answered(outputs, classes, confidence, np.full(len(said), -1), took_s)


def _no_class(n: int) -> tuple[Array, Array, Array]:
    return np.full(n, -1), np.zeros(n, np.float32), np.full(n, -1)


def answers(logits: Array) -> tuple[Array, Array]:
    """Classes ``(n,)`` and confidences ``(n,)`` of logits ``(n, K)``; -1 and 0 where these are not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        return _finite(logits.argmax(1), np.exp(log_softmax(logits).max(1)))


def _finite(classes: Array, confidence: Array) -> tuple[Array, Array]:
    fine = np.isfinite(confidence)
    return np.where(fine, classes, -1), np.where(fine, confidence, 0).astype(np.float32)


def _share(method: Any, n: int) -> float:
    """How much batch statistics count in what a method serves."""
    if callable(share := getattr(method, "share", None)):
        return float(share(n))
    given = getattr(method, "alpha", None)
    if given is None:
        return 1.0 if getattr(method, "couples", True) else 0.0
    return float(given)


__all__ = ["ROUNDS", "Answered", "Direct", "Serve", "Streamed", "answers"]
