"""Runs a bundle frozen and adapted over one stream, and keeps what both say.

Both models see the same frames in the same order. The frozen one is the session of the source slots; where
the adapted stream serves the source state, its own answer is the frozen one and nothing runs twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.errors import FrameError, SourceError, TtaError
from tta.evaluation.record import Recording, Row, Segment
from tta.governor import Mode
from tta.manifest import Manifest
from tta.monitor import threshold
from tta.records import Array, DriftReport, Frame, Prediction, Result
from tta.runtime.loop import advance
from tta.runtime.preprocess import Preprocess, build
from tta.runtime.stream import Model, Stream, prediction

CHUNK = 32  # frames that the frozen model answers at a time
SHOWN = 7  # which frame of a segment is kept for the picture
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the adapted stream with what it was given.

    Attributes:
        result: the answer.
        x: the model's input behind it.
        before: that input without the shift; None where nobody knows it, or nobody needs it.
        label: true class of the frame, or of the whole window behind it.
        source: where the frame came from.
    """

    result: Result
    x: Array
    before: Array | None
    label: int | None
    source: Any

    def pictures(self) -> tuple[Array | None, Array]:
        """The frame before and after its shift: what it shows, or the window that it completes."""
        frame = self.result.frame
        if np.ndim(frame.data) < 2:
            return self.before, self.x
        return clean_data(self.source, frame), np.asarray(frame.data)


def clean_data(source: Any, frame: Frame) -> Array | None:
    """The frame's data before the shift, where its meta has them, or its source can tell."""
    if "clean" in frame.meta:
        return np.asarray(frame.meta["clean"])
    ask = getattr(source, "clean", None)
    return np.asarray(ask(frame)) if callable(ask) else None


class Recorder:
    """Collects the rows and segments of one stream.

    A segment begins where ``segment`` in a frame's meta changes, or without that ``corruption`` and
    ``severity``. ``label`` there is the truth. All of them may be absent.
    """

    def __init__(self, stream: Stream, about: Mapping[str, Any]) -> None:
        manifest = stream.model.bundle.manifest
        if manifest.task != "classify":
            raise TtaError(
                f"frozen and adapted answers of a classifier are compared, but the task of "
                f"{manifest.name} is {manifest.task}"
            )
        self._stream = stream
        self._world: Any = None
        self._level = "ok"
        self.skipped = 0
        what = {
            "model": manifest.name,
            "bundle": stream.model.bundle.hash,
            "batch": stream.batch,
            "governor": stream.guard.mode,
            "unit": "window" if manifest.preprocess.get("kind") == "window" else "frame",
        }
        self.recording = Recording({**what, **about}, [], [], layers=tuple(manifest.layers))

    def add(self, answer: Answer, frozen: Prediction, clean: int | None) -> None:
        """Take in one answer of the stream, the source model's, and the source model's to the clean frame."""
        frame, report, rows = answer.result.frame, answer.result.report, self.recording.rows
        adapted = answer.result.prediction
        assert adapted is not None
        shift, severity = world(frame.meta)
        self._enter(answer, shift, severity)
        decision = report.decision
        event, detail = _event(report, self._level)
        rows.append(
            Row(
                seq=frame.seq,
                t_s=frame.t_s,
                segment=len(self.recording.segments) - 1,
                shift=shift,
                severity=severity,
                label=answer.label,
                clean=clean,
                frozen=frozen.label,
                adapted=adapted.label,
                frozen_confidence=frozen.confidence,
                adapted_confidence=adapted.confidence,
                level=report.level,
                scores=dict(report.scores),
                layers=dict(report.layers) if decision is not None else {},
                event=event,
                detail=detail,
                action=decision.action if decision is not None else "",
                reason=decision.reason if decision is not None else "",
            )
        )
        self._level = report.level

    def _enter(self, answer: Answer, shift: str, severity: float) -> None:
        """Begin a segment where the world changed, and keep a frame of each."""
        number = answer.result.frame.meta.get("segment")
        now = (shift, severity) if number is None else number
        start, segments = len(self.recording.rows), self.recording.segments
        if not segments or now != self._world:
            segments.append(Segment("clean", 0.0, start, start))
            self._world = now
        segments[-1].take(shift, severity)
        # a growing fault is seen best at its end, everything else as well at its beginning
        if start - segments[-1].start in (0, SHOWN) or segments[-1].grows:
            segments[-1].before, segments[-1].after = answer.pictures()

    def finish(self) -> Recording:
        """The recording, with thresholds and counts."""
        manifest, counts = self._stream.model.bundle.manifest, self._stream.counts
        names = list(dict.fromkeys(name for row in self.recording.rows for name in row.scores))
        found = {name: threshold(manifest, name, self._stream.batch) for name in names}
        self.recording.thresholds = {k: v for k, v in found.items() if v is not None}
        self.recording.counts = {
            "frames": counts.frames,
            "skipped": self.skipped,
            "commits": counts.commits,
            "holds": counts.holds,
            "resets": counts.resets,
            "rollbacks": counts.rollbacks,
        }
        return self.recording


def world(meta: Mapping[str, Any]) -> tuple[str, float]:
    """What a frame's meta says of the world: the corruption's name and its severity.

    >>> world({"corruption": "fog", "severity": 3}), world({"corruption": "none", "severity": 0})
    (('fog', 3.0), ('clean', 0.0))
    """
    name, severity = str(meta.get("corruption") or "none"), float(meta.get("severity") or 0)
    return (name, severity) if severity and name != "none" else ("clean", 0.0)


def _event(report: DriftReport, level_before: str) -> tuple[str, dict[str, Any]]:
    """What a report says has happened, with its details.

    That is the verdict of its ``shift``; a report without such a member has the moment at which its level
    becomes drift.
    """
    if hasattr(report, "shift"):
        shift = report.shift
        return ("", {}) if shift is None else (str(shift.verdict), asdict(shift))
    return ("level", {}) if report.level == "drift" and level_before != "drift" else ("", {})


class _Seen:
    """A stream's preprocessing that remembers the last sample that it made."""

    def __init__(self, inner: Preprocess) -> None:
        self._inner = inner
        self.last: Array | None = None

    def __call__(self, frame: Frame) -> Array | None:
        self.last = None
        self.last = self._inner(frame)
        return self.last

    def reset(self) -> None:
        self._inner.reset()


def side_by_side(
    bundle: Bundle,
    source: Any,
    adapter: str = "auto",
    *,
    batch: int = 16,
    buffer: str = "auto",
    governor: Mode = "auto",
    threads: int = 1,
    limit: int | None = None,
    progress: Progress = lambda frames: None,
    about: Mapping[str, Any] | None = None,
) -> Recording:
    """Stream a source through the frozen and the adapted model.

    Args:
        bundle: of a classifier.
        source: a source; labels and shifts are in its frames' meta, where it knows them.
        adapter: ``name?option=value``, or ``auto``.
        batch: frames an adaptation step.
        buffer: which frames a step is on: ``name?option=value``, or ``auto``.
        governor: ``auto``, ``always`` or ``off``.
        threads: inference threads.
        limit: frames at most.
        progress: told how many frames were done since the last call.
        about: more to keep with the recording, as the source's URI.

    Raises:
        TtaError: the bundle is no classifier's.
        SourceError: the source gives no frame that can be used.
    """
    stream = Stream(Model(bundle, threads), adapter, "simulate", batch, governor, buffer=buffer)
    taken = {"adapter": str(stream.adapter), "buffer": str(stream.buffer)}
    recorder = Recorder(stream, {**taken, **(about or {})})
    asker = _Asker(stream, recorder, source)
    with source as opened:
        for chunk in _chunks(islice(opened, limit)):
            asker.take(chunk)
            progress(len(chunk))
    if not recorder.recording.rows:
        why = f", the last because {stream.complaint}" if stream.complaint else ""
        raise SourceError(f"the stream ended without one frame that the model could answer{why}")
    return recorder.finish()


class WindowLabels:
    """Class of a frame; of the window that ends with it, where the model takes windows of single samples.

    A window that spans two classes has none.
    """

    def __init__(self, manifest: Manifest) -> None:
        length = int(manifest.preprocess.get("length", 1))
        self._labels: deque[int | None] = deque(maxlen=length)

    def __call__(self, frame: Frame) -> int | None:
        """The class, None where it is not known."""
        label = frame.meta.get("label")
        number = None if label is None else int(label)
        if np.ndim(frame.data) > 1:
            return number
        self._labels.append(number)
        return number if len(set(self._labels)) == 1 else None


class _Asker:
    """Takes chunks of frames through the adapted stream, and asks the frozen model about the same inputs."""

    def __init__(self, stream: Stream, recorder: Recorder, source: Any) -> None:
        manifest = stream.model.bundle.manifest
        self._stream, self._recorder, self._source = stream, recorder, source
        self._frozen = stream.model.source
        self._seen = stream.preprocess = _Seen(stream.preprocess)
        self._clean = build(manifest.preprocess, manifest.input)
        self._label = WindowLabels(manifest)

    def take(self, chunk: list[Frame]) -> None:
        """Answer some frames."""
        ready = []
        for frame in chunk:
            label = self._label(frame)
            before = self._before(frame)
            for result in advance(self._stream, frame):
                if result.prediction is None or self._seen.last is None:
                    self._recorder.skipped += 1
                else:
                    ready.append(Answer(result, self._seen.last, before, label, self._source))
        self._answer(ready)

    def _before(self, frame: Frame) -> Array | None:
        """The model's input without the shift: for frames without a label, and for windows."""
        if frame.meta.get("label") is not None and np.ndim(frame.data) > 1:
            return None
        data = clean_data(self._source, frame)
        try:
            return None if data is None else self._clean(Frame(data, frame.t_s, frame.seq))
        except FrameError:
            return None

    def _answer(self, ready: list[Answer]) -> None:
        """The frozen model's answers to a chunk, and to its clean frames; all go to the recorder."""
        model = self._stream.model
        own = not callable(getattr(self._stream.method, "predict", None))  # else it changes answers
        asked: dict[tuple[int, str], Array] = {}
        for k, each in enumerate(ready):
            assert each.result.prediction is not None
            if not (own and each.result.prediction.state == model.source_hash):
                asked[k, "frozen"] = each.x
            if each.before is not None and each.result.frame.meta.get("label") is None:
                asked[k, "clean"] = each.before
        answers: dict[tuple[int, str], Prediction] = {}
        if asked:
            outputs = self._frozen.run(np.stack(list(asked.values())))
            for i, key in enumerate(asked):
                one = {name: value[i] for name, value in outputs.items()}
                answers[key] = prediction(model.bundle, one, 0.0)
        for k, each in enumerate(ready):
            assert each.result.prediction is not None
            frozen = answers.get((k, "frozen"), each.result.prediction)
            clean = answers[k, "clean"].label if (k, "clean") in answers else None
            self._recorder.add(each, frozen, clean)


def _chunks(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    iterator = iter(frames)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


__all__ = ["Answer", "Recorder", "WindowLabels", "side_by_side", "world"]
