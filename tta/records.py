"""The nouns of the project: small frozen values that travel from source to sink."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Role = Literal[
    "scale",  # gain of a norm layer, trained by the gradient
    "bias",  # offset of a norm layer, trained by the gradient
    "mean",  # running mean of a norm layer, written by an EMA
    "var",  # running variance (biased) of a norm layer, written by an EMA
    "square",  # running mean square of a norm layer without a mean, written by an EMA
    "weight",  # weight of a Hebbian layer, changed by the Hebbian rule
    "modulation",  # gain or shift of a neuro-modulator, trained by the gradient
    "feature_shift",  # added to the penultimate features
    "head_weight",  # weight of the last linear layer
    "head_bias",  # bias of the last linear layer
]
Level = Literal["ok", "warn", "drift"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One sensor reading, as the source delivered it.

    Attributes:
        data: the reading: an image ``(H, W)`` or ``(H, W, C)`` uint8 or float, a window or sample
            ``(C,)``, ``(C, T)``; what the bundle's preprocessing turns into the model's input.
        t_s: monotonic time of the reading in seconds.
        seq: number of the frame in its source, from 0; gaps are frames that the source dropped.
        source: a tag that names the source.
        meta: what else is known: ``label``, ``path``, exposure, gain, norm epoch, ...
    """

    data: Array
    t_s: float
    seq: int
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slot:
    """A named tensor that may change at run time.

    Attributes:
        name: unique name, ``<layer>.<suffix>``; the graphs' inputs and initializers are called so.
        role: what the tensor is to its layer; adapters choose slots by role.
        layer: the layer that owns it, by its name in the source model.
        shape: shape of the tensor.
        dtype: numpy name of its type.
    """

    name: str
    role: Role
    layer: str
    shape: tuple[int, ...]
    dtype: str = "float32"


class Moments(NamedTuple):
    """Per-channel statistics of a norm layer's input over one batch.

    Attributes:
        mean: ``(C,)``.
        var: ``(C,)``, biased (divided by the count).
        n: values behind each channel: frames times positions.
    """

    mean: Array
    var: Array
    n: float


@dataclass(frozen=True, slots=True)
class Span:
    """The stretch of a stream that a batch stands for.

    Attributes:
        frames: how many it has.
        seconds: stream time since the batch before; None where frames have no time.
        effective: independent frames that they are worth; None if nobody looked.
    """

    frames: int
    seconds: float | None = None
    effective: float | None = None

    @property
    def worth(self) -> float:
        """``effective``, or all frames if nobody looked."""
        return float(self.frames if self.effective is None else self.effective)

    def part(self, frames: int) -> Span:
        """The span of so many of the frames."""
        share = frames / self.frames
        seconds, effective = (
            None if v is None else share * v for v in (self.seconds, self.effective)
        )
        return Span(frames, seconds, effective)


@dataclass(frozen=True, slots=True)
class Step:
    """All that one run of a batch or step graph said.

    Attributes:
        outputs: task outputs and ``features`` by name, computed before any update.
        moments: batch statistics by layer.
        objective: loss of each frame, ``(N,)``, or of the batch, a scalar; empty where the graph has none.
        gradients: d(mean weighted loss)/d(slot) by slot name.
        new: new values of Hebbian weights by slot name; the outputs were computed with them.
        winner: mean largest soft winner-take-all share by Hebbian layer, in 1/K..1.
        span: what the batch stands for in its stream; None for a step made by hand.
    """

    outputs: Mapping[str, Array]
    moments: Mapping[str, Moments] = field(default_factory=dict)
    objective: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    gradients: Mapping[str, Array] = field(default_factory=dict)
    new: Mapping[str, Array] = field(default_factory=dict)
    winner: Mapping[str, float] = field(default_factory=dict)
    span: Span | None = None


def frozen(values: Mapping[str, Array]) -> Mapping[str, Array]:
    """The same arrays behind a read-only mapping, each read-only and nobody's view."""
    out = {}
    for name, value in values.items():
        array = np.asarray(value, order="C")
        if array.flags.writeable or _looks_at_writable(array):
            array = array.copy()
            array.flags.writeable = False
        out[name] = array
    return MappingProxyType(out)


def _looks_at_writable(array: Array) -> bool:
    base = array.base
    return isinstance(base, np.ndarray) and base.flags.writeable


def content_hash(values: Mapping[str, Array]) -> str:
    """sha256 over the sorted (name, dtype, shape, bytes) of some arrays."""
    digest = hashlib.sha256()
    for name in sorted(values):
        array = np.asarray(values[name], order="C")
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class State:
    """The adaptable part of a model at one moment; a value, never changed in place.

    Attributes:
        bundle: hash of the bundle that the slots belong to.
        adapter: name of the method that made it.
        slots: slot values by name, read-only arrays.
        memory: what the method remembers (moments, EMAs, supports, prototypes), read-only arrays.
        step: adaptation steps since the source state.
        parent: hash of the state that it was made from, empty for the source state.
    """

    bundle: str
    adapter: str
    slots: Mapping[str, Array]
    memory: Mapping[str, Array] = field(default_factory=dict)
    step: int = 0
    parent: str = ""

    @property
    def hash(self) -> str:
        """sha256 over slots and memory: equal states have equal hashes."""
        named = {f"slots/{k}": v for k, v in self.slots.items()}
        named.update({f"memory/{k}": v for k, v in self.memory.items()})
        return content_hash(named)

    def child(
        self, slots: Mapping[str, Array] | None = None, memory: Mapping[str, Array] | None = None
    ) -> State:
        """The state after one step: the named slots and memories replaced, all others kept.

        Raises:
            ValueError: a slot is unknown, or its new value has another shape, or is not finite.
        """
        merged = dict(self.slots)
        for name, value in (slots or {}).items():
            if name not in merged:
                raise ValueError(f"the state has no slot {name!r}, so it cannot be replaced")
            old = merged[name]
            new = np.asarray(value, old.dtype)
            if new.shape != old.shape:
                raise ValueError(
                    f"slot {name} has shape {old.shape}, but the new value has {new.shape}"
                )
            if not np.isfinite(new).all():
                raise ValueError(f"the new value of slot {name} is not finite")
            merged[name] = new
        remembered = {**self.memory, **(memory or {})}
        for name, value in (memory or {}).items():
            if not np.isfinite(value).all():
                raise ValueError(f"the new value of memory {name} is not finite")
        return replace(
            self,
            slots=frozen(merged),
            memory=frozen(remembered),
            step=self.step + 1,
            parent=self.hash,
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one frame.

    Attributes:
        outputs: task outputs by name, without the batch axis; ``features`` among them.
        probabilities: ``(K,)`` for a classifier, empty otherwise.
        entropy: of the probabilities, or mean of several decisions, in nats; nan without class scores.
        latency_s: wall time of the inference run in seconds.
        state: hash of the slots that served it, shortened to 12 digits.
        served: ``stream``, or ``batch-pre`` / ``batch-post`` update.
        sure: confidence of an answer that is no class, nan where it has none.
        decoded: says such an answer in JSON's types.
    """

    outputs: Mapping[str, Array]
    probabilities: Array
    entropy: float
    latency_s: float
    state: str
    served: str = "stream"
    sure: float = float("nan")
    decoded: Callable[[], Any] | None = field(default=None, compare=False, repr=False)

    @property
    def label(self) -> int:
        """Most probable class, -1 where there are no probabilities."""
        return int(self.probabilities.argmax()) if self.probabilities.size else -1

    @property
    def confidence(self) -> float:
        """Probability of the most probable class, else what the task makes of the answer; nan if nothing."""
        return float(self.probabilities.max()) if self.probabilities.size else self.sure


UNANSWERED = Prediction({}, np.zeros(0, np.float32), float("nan"), 0.0, "")  # no model was asked


@dataclass(frozen=True, slots=True)
class Selection:
    """The frames that a buffer hands to one round of adaptation.

    Attributes:
        inputs: their model inputs ``(n, ...)``; never padded.
        weight: what each counts in the objective ``(n,)``, None for one each.
        fresh: whether no earlier round had it ``(n,)``, None for all of them.
        frames: the readings behind them, empty where the buffer does not keep those.
        recent: inputs ``(m, ...)`` of the stream's newest frames, none of which an earlier round had, for the
            judgement of what was learned before; None where ``inputs`` are just these.
    """

    inputs: Array
    weight: Array | None = None
    fresh: Array | None = None
    frames: tuple[Frame, ...] = ()
    recent: Array | None = None

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, slots=True)
class View:
    """What the frozen model said of some frames, oldest first: what drift metrics look at.

    Attributes:
        features: ``(n, D)``, penultimate.
        probabilities: ``(n, K)`` of a classifier, ``(n, 0)`` otherwise.
        output: ``(n, ...)``, the task output where it is values, else ``(n, 0)``.
        entropy: ``(n,)`` in nats, nan where there are no class scores.
        confidence: ``(n,)``, see ``Prediction.confidence``; nan where answers have none.
        inputs: model inputs ``(m, ...)`` of some of the frames; m is 0 where none were kept.
    """

    features: Array
    probabilities: Array
    output: Array
    entropy: Array
    confidence: Array
    inputs: Array

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the governor did with one adaptation step, and why.

    Attributes:
        action: ``commit``, ``propose`` (a proposal waits for frames to be judged on), ``rollback``,
            ``reset``, ``reject``, ``hold``, or ``quarantine`` (frames have come that must not teach).
        reason: one clause for people.
        state: hash of the state in force afterwards, shortened to 12 digits.
        step: its step number.
        figures: the numbers behind the decision.
    """

    action: str
    reason: str
    state: str
    step: int
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shift:
    """A detected shift: when, seen by what, how sure, and what was made of it.

    Attributes:
        verdict: ``detected`` at once; some blocks later ``recall`` (a known domain, the source among them),
            ``learn`` (a new one that does no harm) or ``alarm``.
        frame: viewed frames of the stream when this was said.
        onset: viewed frames when the change began, as the detector saw it.
        metrics: share of its threshold that each score reached, of those above a half.
        layers: scores by layer.
        rarity_frames: source frames in which such a score is expected once; nan if not calibrated.
        domain: number of the domain, 0 the source, -1 before the verdict.
        error: estimated error since then: low, mean, high of a 90 % interval; None if there is no estimate.
        kind: ``covariate``, ``label_mix``, ``sensor_fault``, ``camera_moved``, ``lens_dirt`` or ``unknown``.
        kind_share: probability of that kind among all, nan where there was no classifier.
        signature: where the stream lies in each score, in source deviations.
        intervals: 90 % intervals of the signature.
    """

    verdict: Literal["detected", "recall", "learn", "alarm"]
    frame: int
    onset: int
    metrics: Mapping[str, float]
    layers: Mapping[str, float]
    rarity_frames: float
    domain: int = -1
    error: tuple[float, float, float] | None = None
    kind: str = "unknown"
    kind_share: float = float("nan")
    signature: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DriftReport:
    """Drift scores of one stream at one frame.

    Attributes:
        scores: latest value of each drift metric; those of frames change with blocks of frames.
        level: ``ok``, ``warn`` or ``drift``.
        layers: per-layer scores of the metrics that have them.
        decision: what the governor did at this frame, None between steps.
        shift: what the watch detected or concluded at this frame, None at most frames.
    """

    scores: Mapping[str, float]
    level: Level = "ok"
    layers: Mapping[str, float] = field(default_factory=dict)
    decision: Decision | None = None
    shift: Shift | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """One line of a stream's output: a frame with what was made of it.

    Attributes:
        frame: the frame; its data may be large, sinks write the rest.
        prediction: None where the frame was skipped.
        report: drift report at this frame.
        stream: name of the stream.
        skipped: why the frame was not used, empty where it was.
        x: the model input that the prediction is for, without the batch axis.
    """

    frame: Frame
    prediction: Prediction | None
    report: DriftReport
    stream: str = ""
    skipped: str = ""
    x: Array | None = None
