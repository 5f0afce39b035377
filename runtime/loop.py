"""The way of the data, from source to sink: read this file first.

::

    Source ─> Frame ─> preprocess ─> InferSession ─> Prediction ─────────────────> Sinks
                                          ^               │                          ^
                                   commit │               v                          │
                                      Governor <─── Monitor (drift metrics) ─── DriftReport
                                          │  observe → adapt → verify → commit | roll back
                                          v
                                    AdaptSession ─> Step ─> Adapter ─> new State

``run`` drives one or several streams. Files adapt inline and wait, so a run is the same each time; live
sources adapt beside the loop, in a worker. ``regime`` says when a round of adaptation runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from tta.bundle import Bundle
from tta.errors import FrameError, SourceError
from tta.protocols import Adapter, Sink, Source
from tta.records import Array, Frame, Prediction, Result
from tta.runtime.outlet import outlet, undelivered
from tta.runtime.pulse import beat
from tta.runtime.redaction import redact
from tta.runtime.regime import Inline, Regime, check_serving, regime
from tta.runtime.source_uri import open_source
from tta.runtime.stream import Model, Stream

Serve = Literal["stream", "batch"]
Beside = Callable[[Sequence[Stream], Regime], AbstractContextManager[object]]

INLINE = Inline()


def advance(
    stream: Stream, frame: Frame, serve: Serve = "stream", when: Regime = INLINE
) -> Iterator[Result]:
    """Take one frame through a stream; yields the results that are ready.

    ``stream`` answers every frame at once with the committed state and adapts behind it. ``batch`` collects a
    batch and answers with the step's own outputs, as published protocols do.
    """
    stream.counts.came(frame)
    stream.passage.tick(frame.t_s)
    try:
        x = stream.preprocess(frame)
    except FrameError as error:
        stream.counts.skipped += 1
        stream.complaint = str(error)
        yield Result(frame, None, stream.monitor.report(), stream.name, stream.complaint)
        return
    if x is None:  # a window that is not full yet
        return
    if serve == "batch":
        stream.keep(frame, x)
        if stream.waiting.due:
            yield from adapt_and_serve(stream)
        return
    prediction = stream.answer(frame, x)
    stream.show(x)
    decision = when.turn(stream, frame.t_s) or stream.noted()
    yield Result(frame, prediction, stream.monitor.report(decision), stream.name, x=x)


def adapt_and_serve(stream: Stream) -> Iterator[Result]:
    """Adapt on the buffered frames and answer them with the outputs of that step.

    What is left at a stream's end is less than a batch, and the governor's thresholds hold for whole
    ones: under ``auto`` it is answered with the committed state, and so it is where it is too small for
    batch statistics.
    """
    chosen = stream.take()
    frames, batch = chosen.frames, chosen.inputs
    decision = None
    short = len(batch) < stream.waiting.size and stream.guard.guards
    if short or len(batch) < stream.fewest:
        predictions = [_seen(stream, x) for x in batch]
    else:
        decision, predictions = stream.adapt(batch)
    when = getattr(stream.method, "predict_with", "pre")
    for frame, prediction, x in zip(frames, predictions, batch):
        served = replace(prediction, state=stream.serving, served=f"batch-{when}")
        last = decision if frame is frames[-1] else None
        yield Result(frame, served, stream.monitor.report(last), stream.name, x=x)


def _seen(stream: Stream, x: Array) -> Prediction:
    """The served model's answer to one input, and a look for the monitor."""
    prediction = stream.predict(x)
    stream.show(x)
    return prediction


def results(
    streams: Sequence[tuple[Stream, Iterable[Frame]]],
    serve: Serve = "stream",
    when: Regime = INLINE,
) -> Iterator[Result]:
    """Results of several streams, one frame of each in turn, until all have ended."""
    check_serving(serve)
    waiting = [(stream, iter(frames)) for stream, frames in streams]
    while waiting:
        for pair in list(waiting):
            beat()
            stream, frames = pair
            frame = next(frames, None)
            if frame is not None:
                yield from advance(stream, frame, serve, when)
                continue
            if serve == "batch" and len(stream.waiting):
                yield from adapt_and_serve(stream)
            waiting.remove(pair)


def run(
    bundle: Bundle | str | Path,
    sources: str | Source | Sequence[str | Source],
    adapter: str | Adapter = "auto",
    sinks: str | Sink | Sequence[str | Sink] = "null",
    *,
    serve: Serve = "stream",
    threads: int = 1,
    limit: int | None = None,
    adapt: str = "auto",
    duty: float | None = None,
    budget: float | None = None,
    model: Mapping[str, Any] | None = None,
    beside: Beside | None = None,
    **stream: Any,
) -> list[Stream]:
    """Run a bundle over sources into sinks; returns the streams with their final states.

    Where a source is live, Ctrl-C is the end of the run, and the states are returned as at any other.

    Args:
        bundle: bundle, or path of one.
        sources: one or several source URIs or objects; each gets a stream of its own.
        adapter: ``name?option=value``, an adapter object, or ``auto``, which chooses, see ``tta.choice``.
        sinks: one or several sink names or objects; each sees every result. One that is named has a queue and
            a thread of its own, see ``outlet``; an object is called in the loop.
        serve: ``stream`` or ``batch``, see ``advance``.
        threads: inference threads.
        limit: frames a source at most.
        adapt: ``inline``, ``worker``, or ``auto``, see ``regime``.
        duty: share of the time that inline adaptation may take.
        budget: the same for live sources under ``auto``, on devices without a core to spare.
        model: further options of ``Model``: ``providers``, ``profile``, ``memory_mib``, ...
        beside: what is entered with the streams and their regime when all is open, and left first.
        **stream: further options of ``Stream``: ``batch``, ``buffer``, ``governor``, ``metrics``, ``state``,
            ``every``, ``alarms``, ``canaries``,
            ``quarantine``.

    Raises:
        SourceError: a source has no frame, or cannot be read.
    """
    check_serving(serve, adapt, duty, stream)
    if serve == "batch":
        stream["buffer"] = "batch"
    opened = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
    shared = Model(opened, threads, **(model or {}))
    if adapter != "none":
        shared.check_memory()  # better refused now than at each commit
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
            one = Stream(shared, adapter, name, **stream)
            one.counts.live = source.live
            if attach := getattr(source, "attach", None):  # a source that corrects its channels
                attach(one)
            pairs.append((one, _first(frames, limit, what)))
            entered.append(source)
        live = any(source.live for source in entered)
        sinks_ = [outlet(s, waits=not live) if isinstance(s, str) else s for s in outs]
        for sink in sinks_:
            stack.callback(sink.close)
        made = [stream_ for stream_, _ in pairs]
        for sink in sinks_:
            if told := getattr(
                sink, "attach", None
            ):  # one that keeps more of a stream than results
                told(made)
        if adapter != "none":
            shared.check_memory()  # and once more, now that a session is there
        when = regime(adapt, duty, live, budget)
        stack.callback(when.finish, made)
        when.prepare(made)
        if beside is not None:
            stack.enter_context(beside(made, when))
        try:
            for result in results(pairs, serve, when):
                for sink in sinks_:
                    sink.write(result)
        except KeyboardInterrupt:
            pass  # what was done so far is kept: it is the one way in which a live source ends
        for (stream_, _), source in zip(pairs, entered):
            stream_.counts.unreadable = getattr(source, "errors", 0)
            stream_.counts.last_unreadable = getattr(source, "last_error", "")
    undelivered(sinks_, made)
    return [stream for stream, _ in pairs]


def _first(frames: Iterable[Frame], limit: int | None, what: str) -> Iterator[Frame]:
    """The first frames, at least one; asks for none beyond the limit, since a live source may wait for it."""
    frame = None
    for frame in islice(frames, limit):
        yield frame
    if frame is None:
        raise SourceError(f"{what} ended without a single frame")


__all__ = ["Array", "Prediction", "Serve", "adapt_and_serve", "advance", "results", "run"]
