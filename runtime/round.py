"""One round of adaptation of a stream: observe → adapt → verify → commit or roll back.

::

    frozen view of the batch ── the governor plans: hold, restart or adapt
    proposal of the last round ─ judged on this batch, which it has not seen: in force, dropped, or waiting
    state in force ──────────── judged on this batch likewise: stays, or gives way to the source
    adapter ──────────────────── the next proposal, from what is left of these

Nothing here changes the stream: what a round came to is an ``Outcome``, and ``Stream.settle`` puts it in
force between two frames. So a round may run beside the frame loop.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tta.errors import MemoryShortError
from tta.evidence import evidence
from tta.governor import Verdict
from tta.protocols import Run
from tta.records import Array, Selection, State, Step
from tta.runtime.answer import prediction
from tta.runtime.buffer import weighted
from tta.runtime.method import unfit
from tta.runtime.outcome import Outcome
from tta.runtime.passage import Spanned
from tta.runtime.session import InferSession

if TYPE_CHECKING:
    from tta.runtime.stream import Stream

PROBE_FRAMES = 4
PROBE_TOLERANCE = 1e-3  # of the largest output; conv with folded norms rounds differently
LEAST_SEEN = 8  # newest frames below which their statistics are mostly noise
LEAST_PROOF = 1  # frames below which nothing is judged


def peek(stream: Stream, frames: Array) -> Outcome | None:
    """A look at the frames since the tripwire: the source may be back, or a round due in another world."""
    before = stream.guard.signature
    newest = None
    if not stream.waiting.partition:
        newest = _newest_view(stream, Selection(frames, recent=frames))
    found = glance(stream, frames, newest)
    if found is not None or newest is None:
        return found
    if not stream.guard.leaps(newest, len(frames)):
        return None
    return replace(_considered(stream, Selection(frames), newest, True, before), early=True)


def consider(stream: Stream, chosen: Selection, pooled: Step | None = None) -> Outcome:
    """What a round on some frames comes to.

    Args:
        stream: whose round it is.
        chosen: the frames that are learned from, and that the governor looks at.
        pooled: statistics of sampled frames to learn from instead. They only make sense under the state
            they were measured under, so elsewhere the frames are used after all.
    """
    before = stream.guard.signature
    newest = _newest_view(stream, chosen)
    jumped = newest is not None and stream.guard.leaps(newest, len(chosen.recent))  # type: ignore[arg-type]
    if jumped and chosen.recent is not None:  # what was kept is of a world that is gone
        chosen = Selection(chosen.recent)
    return _considered(stream, chosen, newest, jumped, before, pooled)


def _considered(
    stream: Stream,
    chosen: Selection,
    newest: Step | None,
    jumped: bool,
    before: Mapping[str, Array],
    pooled: Step | None = None,
) -> Outcome:
    """The round, once it is known whether its frames are of another world than those before."""
    found = _Round(stream, chosen, newest if jumped else None, newest=newest, jumped=jumped)
    mixed = stream.waiting.selects and not jumped
    plan = stream.guard.plan(found.view, len(chosen), mixed)
    found.figures.update(plan.figures)
    _remember(stream, before)
    reason = "the stream jumped" if before and jumped and plan.action != "hold" else plan.reason
    if plan.action == "hold":
        return found.holds(reason)
    anew = plan.action == "restart" and not stream.restored
    stream.restored = False
    if not stream.guard.guards:
        return found.always(reason, pooled)
    return found.judged(reason, anew, pooled)


def _remember(stream: Stream, before: Mapping[str, Array]) -> None:
    """Keep the state in force where the stream has left the world that it is for."""
    left = before and stream.guard.signature is not before
    if left and stream.current is not stream.origin:
        stream.recall.keep(before, stream.current, stream.guard.width(stream.waiting.size))


def _newest_view(stream: Stream, chosen: Selection) -> Step | None:
    """The frozen view of the newest frames, where a round is on others and these are enough to tell."""
    recent = chosen.recent
    if recent is None or len(recent) < max(stream.fewest, LEAST_SEEN) or not stream.guard.guards:
        return None
    return stream.model.adapting.run("batch", recent, stream.model.bundle.source_slots, alpha=0.0)


def glance(stream: Stream, batch: Array, view: Step | None = None) -> Outcome | None:
    """Look at half a batch: a stream that is back at its source need not wait for the other half.

    Args:
        stream: whose frames they are.
        batch: its newest.
        view: the frozen view of them, where it is known.
    """
    if stream.current is stream.origin or not stream.guard.guards:
        return None
    found = _Round(stream, Selection(batch), view, whole=False)
    before = stream.guard.signature
    plan = stream.guard.returned(found.view, len(batch))
    if plan is None:
        return None
    _remember(stream, before)
    found.figures.update(plan.figures)
    return found.outcome("reset", plan.reason, state=stream.origin, back=True)


@dataclass
class _Round:
    """What a round has found so far."""

    stream: Stream
    chosen: Selection
    known: InitVar[Step | None] = None  # the frozen view of these frames, where somebody has it
    whole: bool = True  # whether its frames are those of a full round, which the monitor is shown
    newest: Step | None = None  # the frozen view of the newest frames, where the round is on others
    jumped: bool = False
    figures: dict[str, float] = field(default_factory=dict)

    def __post_init__(self, known: Step | None) -> None:
        self.start, self.seen = time.perf_counter(), self.stream.current
        self.run: Run = weighted(self.stream.model.adapting.run, self.chosen.weight)
        self.view = (
            self.run("batch", self.chosen.inputs, self.source, alpha=0.0)
            if known is None
            else known
        )

    @property
    def source(self) -> Mapping[str, Array]:
        """The source slots."""
        return self.stream.model.bundle.source_slots

    def outcome(self, action: str, reason: str, **more: Any) -> Outcome:
        """What the round came to; a state to put in force gets its session here."""
        state = more.get("state")
        if state is not None and "served" not in more:
            more["served"] = self.stream.model.serve(state)
        if self.whole:
            told = {"view": self.view, "batch": self.chosen.inputs, "fresh": self.chosen.fresh}
            if self.newest is not None:  # the monitor looks at frames as they came
                newest = self.chosen.inputs if self.jumped else self.chosen.recent
                told = {"view": self.newest, "batch": newest, "fresh": None, "newest": True}
            more = {**told, **more}
        took = {"adapt_ms": (time.perf_counter() - self.start) * 1e3}
        more.setdefault("jumped", self.jumped)
        return Outcome(self.seen, action, reason, {**self.figures, **took}, **more)

    def holds(self, reason: str) -> Outcome:
        """Nothing is learned, and unless adaptation is off the source serves."""
        if self.stream.guard.mode in ("off", "frozen"):
            return self.outcome("hold", reason, holds=True)
        if self.seen is self.stream.origin:
            return self.outcome("hold", reason, holds=True)
        return self.outcome("reset", reason, state=self.stream.origin, holds=True, back=True)

    def always(self, reason: str, pooled: Step | None) -> Outcome:
        """Whatever the method proposes is put in force, if it can be served at all."""
        proposal, outputs, refused = self.proposal(self.seen, pooled)
        if refused or proposal is None:
            return self.outcome("rollback", refused)
        if proposal.slots is self.seen.slots and proposal.memory is self.seen.memory:
            return self.outcome("hold", "the method changed nothing", outputs=outputs)
        probed = self.chosen.inputs[:PROBE_FRAMES]
        after = self.run("batch", probed, proposal.slots, alpha=0.0)
        served, refused = self.probed(proposal, probed, after)
        if refused:
            return self.outcome("rollback", refused)
        return self.outcome("commit", reason, state=proposal, served=served, outputs=outputs)

    def judged(self, reason: str, anew: bool, pooled: Step | None) -> Outcome:
        """Judge what waits and what is in force, and make the next proposal."""
        stream, guard = self.stream, self.stream.guard
        waiting = None if anew else stream.proposal
        if anew:
            stream.recall.begin()
        known = stream.recall.find(self.view.moments, guard.width(len(self.chosen)))
        if known is not None and known is not self.seen:
            waiting, reason = known, f"{reason}, and is as it was before"
        frames, frozen = self.chosen.inputs, self.view
        if self.chosen.recent is not None:
            frames = self.chosen.recent
        enough = len(frames) >= LEAST_PROOF
        if anew:
            guard.begin()
        if stream.canary_judge is not None:
            stream.canary_judge.next()
        judges = enough and (waiting is not None or self.seen is not stream.origin)
        if judges and self.chosen.recent is not None:  # the view is of other frames than these
            frozen = self.newest or stream.model.adapting.run(
                "batch", frames, self.source, alpha=0.0
            )
        action, told, more = "propose", reason, dict[str, Any]()
        force, outputs = self.seen, None
        if waiting is not None and enough:
            verdict, after = self.verdict(waiting, frames, frozen)
            self.figures.update(verdict.figures)
            if verdict.passes:
                served, refused = self.probed(waiting, frames[:PROBE_FRAMES], after)
                if refused:
                    action, told, waiting = "rollback", refused, None
                else:
                    action, force, outputs = "commit", waiting, after.outputs
                    more = {"state": waiting, "served": served}
                    guard.begin(verdict)
            elif verdict.reason:
                action, told, waiting = "rollback", verdict.reason, None
        if enough and force is self.seen and force is not stream.origin:
            verdict, after = self.verdict(force, frames, frozen)
            if action == "propose":
                self.figures.update(verdict.figures)
            fails = guard.stands(verdict)
            outputs = after.outputs
            if fails:
                action, told, force, outputs = "reset", fails, stream.origin, None
                more = {"state": force}
                guard.begin()
        if pooled is not None and force is not self.seen:
            return self.outcome(action, told, outputs=outputs, **more)  # of no state that is left
        base = waiting if waiting is not None else (stream.origin if anew else force)
        next_, _, refused = self.proposal(base, pooled)
        if refused and action == "propose":
            action, told = "rollback", refused
        elif refused:
            told = f"{told}; the next step failed: {refused}"
        if next_ is not None and next_ is base and base is force:
            next_ = None
            if action == "propose":
                action, told = "hold", "the method changed nothing"
        return self.outcome(action, told, outputs=outputs, proposal=next_, **more)

    def proposal(
        self, base: State, pooled: Step | None
    ) -> tuple[State | None, Mapping[str, Array], str]:
        """The method's state after this round, its outputs, and why there is none."""
        stream, method = self.stream, self.stream.method
        span = stream.passage.take(self.view if pooled is None else pooled)
        try:
            if pooled is None or base is not self.seen or base is stream.origin:
                found, outputs = method.adapt(base, self.chosen.inputs, Spanned(self.run, span))
            else:
                found = method.observe(base, replace(pooled, span=span))  # type: ignore[attr-defined]
                outputs = self.view.outputs
        except ValueError as error:  # a slot that is not finite, or of another shape
            return None, {}, str(error)
        if reason := unfit(found, base):
            return None, {}, reason
        return found, outputs, ""

    def verdict(self, state: State, frames: Array, frozen: Step) -> tuple[Verdict, Step]:
        """What the checks say of a state on frames that it has not learned from."""
        stream, manifest = self.stream, self.stream.model.bundle.manifest
        after = stream.model.adapting.run("batch", frames, state.slots, alpha=0.0)
        change, answered = getattr(stream.method, "predict", None), None
        if callable(change) and manifest.task == "classify":
            answered = np.stack(
                [
                    change(prediction(stream.model.bundle, one, 0.0), state).probabilities
                    for one in each(after.outputs)
                ]
            )
        found = evidence(
            manifest, frozen, after, state.slots, self.source, answered, stream.model.bundle.task
        )
        verdict = stream.guard.judge(found)
        if stream.canary_judge is not None:
            verdict = stream.canary_judge.added(verdict, stream.method, state)
        return verdict, after

    def probed(
        self, state: State, frames: Array, after: Step
    ) -> tuple[tuple[InferSession, str] | None, str]:
        """The session that would serve a state, or why it must not: it has to agree with the step graph."""
        try:
            served = self.stream.model.serve(state)
        except MemoryShortError as error:
            return None, str(error)
        primary = self.stream.model.bundle.manifest.primary
        expected = after.outputs[primary][: len(frames)]
        scale = max(1.0, float(np.abs(expected).max()))
        probe = float(np.abs(served[0].run(frames)[primary] - expected).max()) / scale
        self.figures["probe"] = probe
        if not probe <= PROBE_TOLERANCE:
            return None, "the served session disagrees with the step graph"
        return served, ""


def each(outputs: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Outputs of a batch, frame by frame."""
    n = len(next(iter(outputs.values())))
    return [{k: v[i] for k, v in outputs.items()} for i in range(n)]
