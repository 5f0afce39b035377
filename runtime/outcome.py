"""What a round of adaptation came to, and the counts of what happened to a stream's frames and rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tta.records import Array, Frame, State, Step
from tta.runtime.gaps import Gaps
from tta.runtime.session import InferSession


@dataclass
class Counts:
    """What happened to a stream's frames and steps."""

    frames: int = 0
    skipped: int = 0
    unreadable: int = 0  # readings that the source could make no frame of
    last_unreadable: str = ""
    live: bool = False  # whether the source waits for nobody
    undelivered: int = 0  # results that a sink did not take
    last_undelivered: str = ""  # which sink, and why
    missed: int = 0  # frames that the source numbered and never handed over
    adapt_s: float = field(default=0.0, compare=False)  # computing time of all rounds so far
    commits: int = 0
    rollbacks: int = 0
    resets: int = 0
    holds: int = 0
    dropped: int = 0  # frames that no step has seen, since there was no time for one
    stale: int = 0  # proposals dropped, since the state they were made from was no longer in force
    failures: int = 0  # steps that ended in an error
    quarantined: int = 0  # frames that were answered, and must not teach
    sampled: int = 0  # frames answered by batch.onnx
    gaps: Gaps = field(default_factory=Gaps, compare=False, repr=False)

    def came(self, frame: Frame) -> None:
        """Count a frame, and those that its source numbered before it and never handed over."""
        self.frames += 1
        self.missed += self.gaps.before(frame)


@dataclass(frozen=True)
class Outcome:
    """What a round came to; nothing is served by it before ``Stream.settle``.

    Attributes:
        seen: the state in force when the round began: a commit is a compare-and-swap on it.
        action: ``commit``, ``propose``, ``reset``, ``hold`` or ``rollback``.
        reason: one clause for people.
        figures: the numbers behind it.
        state: state to put in force, None to keep what there is.
        served: its session and short hash.
        batch: the frames ``(n, ...)`` that the round was on.
        fresh: which of them no earlier round had ``(n,)``, None for all.
        view: the frozen view of them, None where a round failed before it.
        newest: whether batch and view are the newest frames as they came, whatever the round was on.
        outputs: what the batch itself is to be served with, None for what the state in force says.
        proposal: what waits for the next round's frames to be judged on, None if nothing does.
        jumped: whether the stream is another than that of the rounds before.
        early: whether it came before a round was due, on frames that are still in the buffer.
        back: whether the stream turned out to be as the source again.
        holds: whether the governor wanted no adaptation.
    """

    seen: State
    action: str
    reason: str
    figures: Mapping[str, float]
    state: State | None = None
    served: tuple[InferSession, str] | None = None
    view: Step | None = None
    batch: Array | None = None
    fresh: Array | None = None
    newest: bool = False
    outputs: Mapping[str, Array] | None = None
    proposal: State | None = None
    jumped: bool = False
    early: bool = False
    back: bool = False
    holds: bool = False
