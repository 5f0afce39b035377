"""A stream whose last adaptation steps are kept, with the frames that they came from."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tta.buffers.batch import Batch
from tta.bundle import Bundle
from tta.errors import TtaError
from tta.explanation.attribution import Call, Explanation, Heard, check_explainable, trace
from tta.governor import Mode
from tta.manifest import Manifest
from tta.protocols import Adapter, Run, Source
from tta.records import Array, Decision, Frame, Selection, State
from tta.runtime.loop import advance
from tta.runtime.method import check_needs, make_adapter
from tta.runtime.model import Model
from tta.runtime.stream import Stream


@dataclass
class Round:
    """One step as it was made.

    Attributes:
        frames: the batch as the source gave it.
        batch: the batch as the model saw it ``(N, ...)``.
        state: the state before.
        after: the state that the method proposed.
        call: the run of a graph that the step came from.
        decision: what the governor made of it.
    """

    frames: list[Frame]
    batch: Array
    state: State
    after: State
    call: Call | None
    decision: Decision | None = None


class _Kept(Batch):
    """A buffer that says which frames were taken last."""

    def __init__(self, size: int, taken: list[Frame]) -> None:
        super().__init__(size)
        self._taken = taken  # shared by all values of this buffer

    def take(self) -> tuple[Selection, Batch]:
        """As the buffer does."""
        chosen, rest = super().take()
        self._taken[:] = chosen.frames
        return chosen, rest


class Witness:
    """An adapter that is another one, and keeps what its last steps came from."""

    def __init__(self, method: Adapter, keep: int) -> None:
        self._method, self.needs = method, method.needs
        self.rounds: deque[Round] = deque(maxlen=keep)
        self.taken: list[Frame] = []
        self._open: Round | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The method's source state."""
        return self._method.init(manifest, slots)

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """The method's step."""
        heard = Heard(run)
        after, outputs = self._method.adapt(state, batch, heard)
        self._open = Round(list(self.taken), batch, state, after, heard.call)
        self.rounds.append(self._open)
        return after, outputs

    def decided(self, decision: Decision) -> None:
        """What the governor made of the step that was made last."""
        if self._open is not None:
            self._open.decision, self._open = decision, None


@dataclass
class Watched:
    """A stream that has ended, and its last steps with their explanations, oldest first."""

    stream: Stream
    steps: list[tuple[Round, Explanation]]


def watch(
    bundle: Bundle,
    source: Source,
    adapter: str,
    *,
    keep: int = 1,
    batch: int = 16,
    governor: Mode = "auto",
    threads: int = 1,
    limit: int | None = None,
) -> Watched:
    """Run a stream as ``tta run`` does, adapting in the loop, and explain its last steps.

    Args:
        bundle: one exported with ``--explain``.
        source: frames; Ctrl-C is the end of a live one.
        adapter: ``name?option=value``.
        keep: steps to explain.
        batch: frames a step.
        governor: ``auto``, ``always`` or ``off``.
        threads: inference threads.
        limit: frames at most.

    Raises:
        BundleError: the bundle cannot explain the method's steps.
        TtaError: the stream came to no step.
    """
    method = make_adapter(adapter)
    check_needs(method, bundle)
    check_explainable(method, bundle)
    witness = Witness(method, keep)
    model = Model(bundle, threads)
    kept = _Kept(batch, witness.taken)
    stream = Stream(model, witness, batch=batch, governor=governor, buffer=kept)
    last: Decision | None = None
    with source:
        try:
            for frame in islice(source, limit):
                for result in advance(stream, frame):
                    if (decision := result.report.decision) is not None:
                        last = decision
                        witness.decided(decision)
        except KeyboardInterrupt:
            pass
    if not witness.rounds:
        raise TtaError(_nothing(stream, last))
    given = (bundle.manifest, model.adapting.run)
    traced = [
        (r, trace(*given, r.call, r.state, r.after, model.calibration)) for r in witness.rounds
    ]
    return Watched(stream, traced)


def _nothing(stream: Stream, last: Decision | None) -> str:
    counts = stream.counts
    said = f"{counts.frames} frames came to no adaptation step"
    if counts.frames == counts.skipped and counts.frames:
        return f"{said}, since none could be used, the last because {stream.complaint}"
    if last is None:
        return f"{said}, since one takes {stream.batch}: allow more frames, or a smaller --batch"
    return f"{said}, since the governor held each batch ({last.reason}): --governor always adapts on all"


__all__ = ["Round", "Watched", "Witness", "watch"]
