"""The roles that files in this project play: each one or two methods, found by file name.

They are protocols and not base classes, so that a class from outside the project needs no import of
tta to play one: ``--adapter my_pkg.my_mod:Mine``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from tta.evidence import Evidence
from tta.manifest import Manifest
from tta.records import (
    Array,
    DriftReport,
    Frame,
    Prediction,
    Result,
    Selection,
    State,
    Step,
    View,
)


class Run(Protocol):
    """Runs one graph of the bundle on a batch with the slot values of a state.

    On a stream it also has ``span``, what the whole batch stands for; ``Step.span`` says it of what was run.
    """

    def __call__(self, graph: str, batch: Array, slots: Mapping[str, Array], **inputs: Any) -> Step:
        """Run ``batch`` or ``step/<objective>``.

        Args:
            graph: name of the graph, one of ``manifest.provides``.
            batch: preprocessed frames, ``(N, ...)``.
            slots: slot values by name.
            **inputs: ``alpha`` (share of batch statistics, default 1), ``sample_weight`` ``(N,)``
                (default ones) and what the graph has besides (``eta``, ``anti``, ...).
        """


@runtime_checkable
class Source(Protocol):
    """A context manager that is an iterator of frames. ``live`` sources do not wait for us."""

    live: bool

    def __enter__(self) -> Source: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...


class Adapter(Protocol):
    """A test-time adaptation method.

    ``needs`` names the graphs that it runs; checked against the bundle before the first frame.
    More members are optional:

    - ``objective(op, outputs)``: the loss ``(N,)`` of the one step graph among the needs, written through
      the operator namespace that export hands it. One with a third parameter, ``layers``, also gets mean and
      variance of what each norm layer puts out, beside the source's; a loss of the batch as a whole may be a
      scalar. ``op.given(name, like)`` declares an input that the method hands to ``run`` under that name;
    - ``any_task = True`` says that the objective asks nothing of the outputs, so that bundles of every task
      can have its graph; ``asks``, beside the objective, is what the method asks of the task (``tta.tasks``),
      by default one class a frame. An objective with a parameter ``entropy`` gets what writes the entropy
      of the task's decisions;
    - ``hebbian = True`` asks export for the Hebbian change inside that graph;
    - ``couples = False`` says that no layer ever runs on the statistics of one batch alone, in a step or in
      what is committed, so that a batch may be as small as one frame in every model;
    - ``observe(state, step) -> State``: the state after frames whose moments are the step's, for methods
      that learn from statistics alone;
    - ``inform(state, calibration) -> State``: the source state from ``init`` with what the method wants of
      the bundle's calibration in its memory. It refuses a bundle that lacks it, before the first frame.
    """

    needs: frozenset[str]

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state: every slot as exported, and empty memories."""

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """One adaptation step: the state after it, and the outputs to serve for this batch."""


class Buffer(Protocol):
    """The frames that a stream keeps for its next round of adaptation: a value, never changed in place.

    What changes a buffer returns another one, so that to keep the old one is a snapshot, ``empty`` is a
    reset, and the same frames and answers give the same rounds. ``partition`` says that each frame is in
    exactly one round and in its order, and that rounds come with their ``frames``, so that a round may
    answer them. ``selects`` says that frames are kept for what the model says of them, which takes class
    probabilities.
    """

    @property
    def partition(self) -> bool:
        """Whether rounds answer their frames."""

    @property
    def selects(self) -> bool:
        """Whether answers decide what is kept."""

    @property
    def size(self) -> int:
        """Frames of a whole round: what thresholds hold for."""

    @property
    def least(self) -> int:
        """Frames of the smallest round that is ever due."""

    @property
    def due(self) -> bool:
        """Whether a round should be taken now."""

    def __len__(self) -> int: ...

    def add(self, frame: Frame, x: Array, prediction: Prediction) -> tuple[Buffer, int]:
        """The buffer after one more frame, and how many it dropped since no round came in time.

        Args:
            frame: the reading.
            x: its model input, without the batch axis.
            prediction: what was served for it.
        """

    def take(self) -> tuple[Selection, Buffer]:
        """The frames of a round, at least one, and the buffer after it."""

    def look(self) -> Array | None:
        """Inputs ``(n, ...)`` by which to see early that the source is back; None where it is not time."""

    def moved(self) -> Buffer:
        """Without the frames from before the last round's, where these show that the stream has jumped."""

    def hurried(self, within: int) -> Buffer:
        """The same, its next round due within so many frames, where it can be."""

    def renewed(self) -> Buffer:
        """The buffer without frames that a round had: the source is back, and they are of another world."""

    def empty(self) -> Buffer:
        """The buffer as it was before the first frame."""


class Predictor(Protocol):
    """An adapter that changes the answer as well (LAME, T3A, feature shift)."""

    def predict(self, prediction: Prediction, state: State) -> Prediction:
        """The answer to serve instead of the model's own."""


class DriftMetric(Protocol):
    """A drift score of a stream, zero or low on source data or at least steady there.

    Made with ``(manifest, calibration)``. Three more members are optional: ``reference(view, targets)``, a
    static method that gives what the metric must know of the source as arrays by name (export keeps them
    as ``drift.<metric>.<name>``), and ``observe_state(slots, source)`` for a metric of the state in force.
    ``distance = True`` says that the score is a distance from the source, of which only a rise is drift.
    """

    def observe(self, view: View) -> None:
        """Take in what the frozen model said of some frames."""

    def observe_step(self, step: Step) -> None:
        """Take in the frozen model's statistics of one batch."""

    def score(self) -> float:
        """The score now; nan before there is one."""

    def layers(self) -> Mapping[str, float]:
        """The score by layer, empty where the metric has no layers."""

    def reset(self) -> None:
        """Forget the stream."""


class Check(Protocol):
    """A figure by which a proposed state is judged; larger is worse, nan says that the check does not apply.

    A class with parameters is made with ``(manifest, calibration)``. One more member is optional:
    ``reference(view, targets)``, a static method that gives what the check must know of the source as arrays
    by name (export keeps them as ``check.<name>.<array>``).
    """

    threshold: float

    def figure(self, evidence: Evidence) -> float:
        """The figure; the state must not be in force where it is above ``threshold``."""

    def says(self, figure: float) -> str:
        """One clause for people about such a figure."""


class Detector(Protocol):
    """A change detector with the interface of the library river, whose own detectors fit as well.

    A detector that also has ``statistic`` (largest value so far of what its ``threshold`` bounds, as a
    float) and takes ``threshold`` can be calibrated to a false-alarm budget.
    """

    drift_detected: bool

    def update(self, x: float) -> Any:
        """Take in one value of the score."""


@runtime_checkable
class Sink(Protocol):
    """Takes results: a file, a terminal, a broker.

    One that also has ``attach(streams)`` is told of the run's streams before the first frame.
    """

    def write(self, result: Result) -> None:
        """Take one result."""

    def close(self) -> None:
        """Flush and let go."""


__all__ = [
    "Adapter",
    "Buffer",
    "Check",
    "Detector",
    "DriftMetric",
    "DriftReport",
    "Predictor",
    "Run",
    "Sink",
    "Source",
]
