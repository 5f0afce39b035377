"""The way of the data, from source to sink: read this file first.

::

    Source ─> Frame ─> preprocess ─> InferSession ─> Prediction ─────────────────> Sinks
                                          ^               │                          ^
                                   commit │               v                          │
                                      Governor <─── Monitor (drift metrics) ─── DriftReport
                                          │  observe → adapt → verify → commit | roll back
                                          v
                                    AdaptSession ─> Step ─> Adapter ─> new State

``run`` drives one or several streams. Files adapt inline and wait, so a run is the same each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from tta.bundle import Bundle
from tta.errors import FrameError, SourceError, TtaError
from tta.protocols import Adapter, Sink, Source
from tta.records import Array, Frame, Prediction, Result
from tta.runtime.redaction import redact
from tta.runtime.sink_uri import open_sink
from tta.runtime.source_uri import open_source
from tta.runtime.stream import Model, Stream

Serve = Literal["stream", "batch"]


def advance(stream: Stream, frame: Frame, serve: Serve = "stream") -> Iterator[Result]:
    """Take one frame through a stream; yields the results that are ready.

    ``stream`` answers every frame at once with the committed state and adapts behind it. ``batch`` collects a
    batch and answers with the step's own outputs, as published protocols do.
    """
    stream.counts.frames += 1
    try:
        x = stream.preprocess(frame)
    except FrameError as error:
        stream.counts.skipped += 1
        stream.complaint = str(error)
        yield Result(frame, None, stream.monitor.report(), stream.name, stream.complaint)
        return
    if x is None:  # a window that is not full yet
        return
    stream.buffer.add(frame, x)
    if serve == "batch":
        if stream.buffer.full:
            yield from adapt_and_serve(stream)
        return
    prediction = stream.predict(x)
    stream.monitor.observe(prediction)
    decision = None
    if stream.buffer.full:
        _, batch = stream.buffer.take()
        decision, _ = stream.adapt(batch)
    elif stream.buffer.half:
        decision = stream.peek(stream.buffer.look())
    yield Result(frame, prediction, stream.monitor.report(decision), stream.name)


def adapt_and_serve(stream: Stream) -> Iterator[Result]:
    """Adapt on the buffered frames and answer them with the outputs of that step.

    What is left at a stream's end is less than a batch, and the governor's thresholds hold for whole
    ones: under ``auto`` it is answered with the committed state.
    """
    frames, batch = stream.buffer.take()
    decision = None
    if len(batch) < stream.batch and stream.guard.mode == "auto":
        predictions = [stream.predict(x) for x in batch]
    else:
        decision, predictions = stream.adapt(batch)
    when = getattr(stream.method, "predict_with", "pre")
    for frame, prediction in zip(frames, predictions):
        served = replace(prediction, state=stream.serving, served=f"batch-{when}")
        stream.monitor.observe(served)
        last = decision if frame is frames[-1] else None
        yield Result(frame, served, stream.monitor.report(last), stream.name)


def results(
    streams: Sequence[tuple[Stream, Iterable[Frame]]], serve: Serve = "stream"
) -> Iterator[Result]:
    """Results of several streams, one frame of each in turn, until all have ended."""
    if serve not in ("stream", "batch"):
        raise TtaError(f"serve is 'stream' or 'batch', but is {serve!r}")
    waiting = [(stream, iter(frames)) for stream, frames in streams]
    while waiting:
        for pair in list(waiting):
            stream, frames = pair
            frame = next(frames, None)
            if frame is not None:
                yield from advance(stream, frame, serve)
                continue
            if serve == "batch" and len(stream.buffer):
                yield from adapt_and_serve(stream)
            waiting.remove(pair)


def run(
    bundle: Bundle | str | Path,
    sources: str | Source | Sequence[str | Source],
    adapter: str | Adapter = "nhl",
    sinks: str | Sink | Sequence[str | Sink] = "null",
    *,
    serve: Serve = "stream",
    threads: int = 1,
    limit: int | None = None,
    **stream: Any,
) -> list[Stream]:
    """Run a bundle over sources into sinks; returns the streams with their final states.

    Where a source is live, Ctrl-C is the end of the run, and the states are returned as at any other.

    Args:
        bundle: bundle, or path of one.
        sources: one or several source URIs or objects; each gets a stream of its own.
        adapter: ``name?option=value``, or an adapter object.
        sinks: one or several sink names or objects; each sees every result.
        serve: ``stream`` or ``batch``, see ``advance``.
        threads: inference threads.
        limit: frames a source at most.
        **stream: further options of ``Stream``: ``batch``, ``governor``, ``metrics``, ``state``.

    Raises:
        SourceError: a source has no frame, or cannot be read.
    """
    model = Model(bundle if isinstance(bundle, Bundle) else Bundle(bundle), threads)
    given = [sources] if isinstance(sources, str | Source) else list(sources)
    outs = [sinks] if isinstance(sinks, str | Sink) else list(sinks)
    with ExitStack() as stack:
        pairs: list[tuple[Stream, Iterable[Frame]]] = []
        entered: list[Source] = []
        for k, each in enumerate(given):
            source = open_source(each) if isinstance(each, str) else each
            name = f"stream-{k}" if len(given) > 1 else ""
            frames: Iterable[Frame] = stack.enter_context(source)
            what = redact(each) if isinstance(each, str) else type(each).__name__
            made = Stream(model, adapter, name, **stream)
            if attach := getattr(source, "attach", None):  # a source that corrects its channels
                attach(made)
            pairs.append((made, _first(frames, limit, what)))
            entered.append(source)
        opened = [open_sink(s) if isinstance(s, str) else s for s in outs]
        for sink in opened:
            stack.callback(sink.close)
        try:
            for result in results(pairs, serve):
                for sink in opened:
                    sink.write(result)
        except KeyboardInterrupt:
            pass  # what was done so far is kept: it is the one way in which a live source ends
        for (stream_, _), source in zip(pairs, entered):
            stream_.counts.unreadable = getattr(source, "errors", 0)
            stream_.counts.last_unreadable = getattr(source, "last_error", "")
    return [stream for stream, _ in pairs]


def _first(frames: Iterable[Frame], limit: int | None, what: str) -> Iterator[Frame]:
    """The first frames, at least one; asks for none beyond the limit, since a live source may wait for it."""
    frame = None
    for frame in islice(frames, limit):
        yield frame
    if frame is None:
        raise SourceError(f"{what} ended without a single frame")


__all__ = ["Array", "Prediction", "Serve", "adapt_and_serve", "advance", "results", "run"]
