"""Runs a bundle frozen and adapted over one stream, and keeps what both say.

Both models see the same frames in the same order. The frozen one is the session of the source slots; where
the adapted stream serves the source state, its own answer is the frozen one and nothing runs twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

import tta
from tta.bundle import Bundle
from tta.errors import FrameError, SourceError, TtaError
from tta.evaluation.record import Recording, Row, Segment
from tta.governor import Mode
from tta.monitor import threshold
from tta.records import Array, DriftReport, Frame, Prediction, Result
from tta.runtime.loop import advance
from tta.runtime.preprocess import Preprocess, build
from tta.runtime.stream import Model, Stream, prediction

CHUNK = 32  # frames that the frozen model answers at a time
SHOWN = 7  # which frame of a segment is kept for the picture
Progress = Callable[[int], None]


class Recorder:
    """Collects the rows and segments of one stream.

    A segment begins where ``segment``, ``shift`` or ``severity`` in a frame's meta change. ``label`` there is
    the truth and ``clean`` the frame before its shift; all of them may be absent.
    """

    def __init__(self, stream: Stream, about: Mapping[str, Any]) -> None:
        manifest = stream.model.bundle.manifest
        if manifest.task != "classify":
            raise TtaError(
                f"frozen and adapted answers of a classifier are compared, but the task of "
                f"{manifest.name} is {manifest.task}"
            )
        self._stream = stream
        self._world: tuple[Any, ...] | None = None
        self._level = "ok"
        self.skipped = 0
        what = {
            "model": manifest.name,
            "bundle": stream.model.bundle.hash,
            "batch": stream.batch,
            "governor": stream.guard.mode,
            "tta": tta.__version__,
        }
        self.recording = Recording({**what, **about}, [], [], layers=tuple(manifest.layers))

    def add(self, result: Result, frozen: Prediction, clean: int | None, after: Array) -> None:
        """Take in one answer.

        Args:
            result: of the adapted stream.
            frozen: the source model's answer to the same input.
            clean: the source model's answer to the frame before its shift, where it was asked.
            after: the model's input, which stands for the frame where that is a single sample.
        """
        assert result.prediction is not None
        frame, report, rows = result.frame, result.report, self.recording.rows
        self._enter(frame, after)
        label = frame.meta.get("label")
        decision = report.decision
        rows.append(
            Row(
                seq=frame.seq,
                t_s=frame.t_s,
                segment=len(self.recording.segments) - 1,
                label=None if label is None else int(label),
                clean=clean,
                frozen=frozen.label,
                adapted=result.prediction.label,
                frozen_confidence=frozen.confidence,
                adapted_confidence=result.prediction.confidence,
                level=report.level,
                scores=dict(report.scores),
                layers=dict(report.layers) if decision is not None else {},
                alarms=_alarms(report, self._level),
                kind=str(getattr(report, "kind", "") or ""),
                action=decision.action if decision is not None else "",
                reason=decision.reason if decision is not None else "",
            )
        )
        self._level = report.level
        self.recording.segments[-1].stop = len(rows)

    def _enter(self, frame: Frame, after: Array) -> None:
        """Begin a segment where the world changed, and keep a frame of each."""
        name, severity = world(frame.meta)
        now = (frame.meta.get("segment"), name, severity)
        start = len(self.recording.rows)
        segments = self.recording.segments
        if now != self._world:
            segments.append(Segment(name, severity, start, start))
            self._world = now
        if start - segments[-1].start in (0, SHOWN):
            picture = np.asarray(frame.data)
            before = frame.meta.get("clean")
            segments[-1].before = None if before is None else np.asarray(before)
            segments[-1].after = picture if picture.ndim > 1 else after

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


def world(meta: Mapping[str, Any]) -> tuple[str, int]:
    """What a frame's meta says of the world: the shift's name and its severity.

    >>> world({"shift": "fog", "severity": 3}), world({"shift": ""}), world({})
    (('fog', 3), ('clean', 0), ('clean', 0))
    """
    name = str(meta.get("shift") or "")
    severity = int(meta.get("severity") or 0) if name else 0
    return (name, severity) if severity else ("clean", 0)


def _alarms(report: DriftReport, level_before: str) -> tuple[str, ...]:
    """Names of the alarms of a report; without detectors, the moment at which the level becomes drift."""
    alarms = getattr(report, "alarms", None)
    if alarms is not None:
        return tuple(str(getattr(alarm, "name", alarm)) for alarm in alarms)
    return ("level",) if report.level == "drift" and level_before != "drift" else ()


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
    adapter: str = "nhl",
    *,
    batch: int = 16,
    governor: Mode = "auto",
    threads: int = 1,
    limit: int | None = None,
    progress: Progress = lambda frames: None,
    about: Mapping[str, Any] | None = None,
) -> Recording:
    """Stream a source through the frozen and the adapted model.

    Args:
        bundle: of a classifier.
        source: a source; labels, shifts and clean frames are in its frames' meta, where it knows them.
        adapter: ``name?option=value``.
        batch: frames an adaptation step.
        governor: ``auto``, ``always`` or ``off``.
        threads: inference threads.
        limit: frames at most.
        progress: told how many frames were done since the last call.
        about: more to keep with the recording, as the source's URI.

    Raises:
        TtaError: the bundle is no classifier's.
        SourceError: the source gives no frame that can be used.
    """
    stream = Stream(Model(bundle, threads), adapter, "simulate", batch, governor)
    recorder = Recorder(stream, {"adapter": adapter, **(about or {})})
    seen = _Seen(stream.preprocess)
    stream.preprocess = seen
    clean = build(bundle.manifest.preprocess, bundle.manifest.input)
    with source as opened:
        for chunk in _chunks(islice(opened, limit)):
            ready: list[tuple[Result, Array, Array | None]] = []
            for frame in chunk:
                before = _before(clean, frame)
                for result in advance(stream, frame):
                    if result.prediction is None or seen.last is None:
                        recorder.skipped += 1
                    else:
                        ready.append((result, seen.last, before))
            _answer(stream, recorder, ready)
            progress(len(chunk))
    if not recorder.recording.rows:
        why = f", the last because {stream.complaint}" if stream.complaint else ""
        raise SourceError(f"the stream ended without one frame that the model could answer{why}")
    return recorder.finish()


def _before(preprocess: Preprocess, frame: Frame) -> Array | None:
    """The model's input had there been no shift: asked for only where there is no label."""
    if frame.meta.get("label") is not None or frame.meta.get("clean") is None:
        return None
    try:
        return preprocess(Frame(np.asarray(frame.meta["clean"]), frame.t_s, frame.seq))
    except FrameError:
        return None


def _answer(
    stream: Stream, recorder: Recorder, ready: list[tuple[Result, Array, Array | None]]
) -> None:
    """The frozen model's answers to a chunk, and to its clean frames; all go to the recorder."""
    model = stream.model
    own = not callable(getattr(stream.method, "predict", None))  # else a method changes the answer
    asked: dict[tuple[int, str], Array] = {}
    for k, (result, x, before) in enumerate(ready):
        assert result.prediction is not None
        if not (own and result.prediction.state == model.source_hash):
            asked[k, "frozen"] = x
        if before is not None:
            asked[k, "clean"] = before
    answers: dict[tuple[int, str], Prediction] = {}
    if asked:
        outputs = model.source.run(np.stack(list(asked.values())))
        for i, key in enumerate(asked):
            each = {name: value[i] for name, value in outputs.items()}
            answers[key] = prediction(model.bundle, each, 0.0)
    for k, (result, x, before) in enumerate(ready):
        assert result.prediction is not None
        frozen = answers.get((k, "frozen"), result.prediction)
        clean = answers[k, "clean"].label if before is not None else None
        recorder.add(result, frozen, clean, x)


def _chunks(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    iterator = iter(frames)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


__all__ = ["Recorder", "side_by_side", "world"]
