"""A stream: one source with its own state, monitor, governor and buffer."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tta.choice import AUTO, choose
from tta.errors import StateError, TtaError
from tta.governor import Governor, Mode
from tta.manifest import Manifest
from tta.monitor import Monitor
from tta.protocols import Adapter, Buffer
from tta.recall import Recall
from tta.records import UNANSWERED, Array, Decision, Frame, Prediction, Selection, State, Step
from tta.runtime.answer import prediction
from tta.runtime.buffer import make_buffer
from tta.runtime.canary_judge import canary_judge
from tta.runtime.gate import Gate
from tta.runtime.memory import retire
from tta.runtime.method import (
    check_coupling,
    check_needs,
    fewest,
    make_adapter,
    source_state,
    unfit,
)
from tta.runtime.model import Model
from tta.runtime.outcome import Counts, Outcome
from tta.runtime.passage import Passage
from tta.runtime.preprocess import build
from tta.runtime.round import consider, each, glance, peek
from tta.runtime.sampling import KEPT, Pool
from tta.runtime.session import InferSession
from tta.runtime.tripwire import Tripwire
from tta.watch import AlarmPolicy

MOST_PROOF = 64  # newest frames that a proposal is judged on
SOON = 8  # frames after an early round at which the next one is due, if the buffer can
MOST_POOLED = 4096  # sampled frames that may wait for a round


@dataclass
class Stream:
    """State and guard of one source; ``tta.runtime.loop`` says in which order its parts act.

    Args:
        model: the bundle's sessions.
        adapter: ``name?option=value``, an adapter object, or ``auto``, see ``tta.choice``.
        name: name in results.
        batch: frames an adaptation step, for buffers that do not say it themselves.
        buffer: which frames a step is on: ``name?option=value``, a buffer object, or ``auto``.
        governor: ``auto``, ``always`` or ``off``.
        metrics: drift metrics; default all.
        state: state to start from; default the source.
        every: learn from the statistics of every so-manieth frame only, see ``sampling``; 0 for off. The
            method needs ``observe``; a round then is on ``batch`` sampled frames.
        commit_s: rounds are at least so many seconds of stream time apart.
        alarms: how drift is detected, and how many false alarms are tolerable.
        canaries: folder of labelled frames that a state must not unlearn, beside those in the bundle.
        quarantine: rules for frames that must not teach: ``default``, ``none``, or names, see ``Gate``.
    """

    model: Model
    adapter: Adapter | str = AUTO
    name: str = ""
    batch: int = 16
    governor: Governor | Mode = "auto"
    metrics: list[str] | None = None
    state: State | None = None
    every: int = 0
    commit_s: float = 0.0
    alarms: AlarmPolicy | None = None
    buffer: Buffer | str = AUTO
    canaries: str | Path | None = None
    quarantine: str = "default"
    counts: Counts = field(default_factory=Counts)
    session: InferSession = field(init=False)
    serving: str = field(init=False)
    retire: Callable[[list[InferSession]], None] = field(
        init=False
    )  # what lets go of an old session

    def __post_init__(self) -> None:
        bundle = self.model.bundle
        manifest = bundle.manifest
        if self.batch < 1:
            raise TtaError(f"a batch holds at least one frame, but batch is {self.batch}")
        guard = self.governor
        self.chosen = ""  # why these, where ``auto`` was asked for
        if self.buffer == AUTO or self.adapter == AUTO:
            self._choose(manifest)
        given = self.adapter
        self.method: Adapter = make_adapter(given) if isinstance(given, str) else given
        check_needs(self.method, bundle)
        if self.every and not hasattr(self.method, "observe"):
            raise TtaError(
                f"--every needs an adapter that learns from statistics alone, as bn_stats does; "
                f"{self.adapter!r} runs a step of its own"
            )
        batch = min(self.batch, KEPT) if self.every else self.batch
        self.waiting = make_buffer(self.buffer, batch, manifest, bool(self.every))
        looked_at = self.waiting.size
        check_coupling(self.method, bundle, self.waiting.least)
        self.fewest = fewest(self.method, bundle)
        self.guard = (
            Governor(manifest, self.model.calibration, guard, looked_at)
            if isinstance(guard, str)
            else guard
        )
        seen = self._spacing(looked_at)
        self.monitor = Monitor(manifest, self.model.calibration, self.metrics, seen, self.alarms)
        self.frozen: Prediction | None = None  # the frozen model's answer, where it was served
        self.preprocess = build(manifest.preprocess, manifest.input)
        self.retire = retire
        self.pool = Pool()
        self.recall = Recall()
        self.gate = Gate(self.quarantine, manifest, self.model.calibration)
        self.canary_judge = canary_judge(self.model, self.canaries, self.name)
        self.tripwire = Tripwire(manifest.primary)
        self.passage = Passage(self.model.calibration.get("features.var"))
        self.began_s = -math.inf  # stream time of the last round
        self.rests = False  # whether rounds must wait: there is no budget for one
        self.complaint = ""  # why the last skipped frame was skipped
        self.origin: State = source_state(self.method, bundle, self.model.calibration)
        self.proposal: State | None = None  # what waits to be judged
        self.recent: deque[Array] = deque(maxlen=min(looked_at, MOST_PROOF))  # since the last round
        self.restored = False  # whether the governor has yet to see the stream that a state is for
        self.current: State = self.origin
        if self.state is None:
            self._serve(self.origin)
        else:
            self.restore(self.state)

    def _spacing(self, size: int) -> int:
        """Frames that come between two rounds, of which the monitor sees at most ``MOST_PROOF``."""
        if self.waiting.partition:
            return size
        given = getattr(self.waiting, "period", 0) or getattr(self.waiting, "stride", 0) or size
        return min(int(given), size, MOST_PROOF)

    def _choose(self, manifest: Manifest) -> None:
        """Put a method and a buffer in place of ``auto``."""
        given, buffer = self.adapter, self.buffer
        named = given if isinstance(given, str) else type(given).__name__
        kept = buffer if isinstance(buffer, str) else type(buffer).__name__
        found = choose(
            manifest, named, kept, batch=self.batch, apart=bool(self.every), state=self.state
        )
        self.adapter = found.adapter if given == AUTO else given
        self.buffer = found.buffer if buffer == AUTO else buffer
        self.chosen = found.reason

    def collect(self, x: Array) -> None:
        """Put a bare model input into the buffer, as the next frame of the stream."""
        self.passage.tick(time.monotonic())
        self.keep(Frame(x, 0.0, self.counts.frames), x)
        self.counts.frames += 1

    def keep(self, frame: Frame, x: Array, answer: Prediction = UNANSWERED) -> None:
        """Offer a frame, its model input and what was served for it to the buffer."""
        self.waiting, dropped = self.waiting.add(frame, x, answer)
        self.counts.dropped += dropped
        if not self.waiting.partition:
            self.recent.append(x)

    def take(self) -> Selection:
        """The frames of a round, out of the buffer."""
        chosen, self.waiting = self.waiting.take()
        if self.recent:
            chosen = replace(chosen, recent=np.stack(self.recent))
            self.recent.clear()
        return chosen

    def predict(self, x: Array) -> Prediction:
        """The served model's answer to one input, without the batch axis."""
        start = time.perf_counter()
        outputs = self.session.run(x[None])
        latency = time.perf_counter() - start
        found = prediction(self.model.bundle, {k: v[0] for k, v in outputs.items()}, latency)
        return self._changed(replace(found, state=self.serving))

    def _changed(self, found: Prediction) -> Prediction:
        """The answer as the method changes it, if it does; the frozen model's own is kept for ``show``."""
        self.frozen = found if self.by_source else None
        change = getattr(self.method, "predict", None)
        return change(found, self.current) if callable(change) and not self.guard.hides else found

    def answer(self, frame: Frame, x: Array) -> Prediction:
        """The served model's answer to a frame, which is kept to learn from."""
        if not self.every:
            answer = self.predict(x)
            if self.guard.guards:
                self.tripwire.see(x, answer)
            if self._teaches(frame, x, answer):
                self.keep(frame, x, answer)
            return answer
        if (self.counts.frames - 1) % self.every:
            return self.predict(x)
        start = time.perf_counter()
        step = self.model.adapting.run("batch", x[None], self.current.slots, alpha=0.0)
        latency = time.perf_counter() - start
        outputs = {k: v[0] for k, v in step.outputs.items()}
        found = prediction(self.model.bundle, outputs, latency)
        if not self._teaches(frame, x, found):
            return self._changed(replace(found, state=self.serving))
        self.counts.sampled += 1
        most = max(MOST_POOLED, self.batch)
        if self.pool.frames >= most:  # rounds that never come must not grow it
            self.counts.dropped += self.pool.frames
            self.pool.clear()
        self.pool.add(step)
        self.waiting, _ = self.waiting.add(frame, x, UNANSWERED)
        return self._changed(replace(found, state=self.serving))

    def _teaches(self, frame: Frame, x: Array, answer: Prediction) -> bool:
        """Whether a frame may be learned from."""
        refused = self.gate.refuses(frame, x, answer)
        self.counts.quarantined += refused
        return not refused

    def noted(self) -> Decision | None:
        """What is to be written down although no round was due: frames have come that must not teach."""
        why = self.gate.told()
        return Decision("quarantine", why, self.serving, self.current.step, {}) if why else None

    def work(self, now_s: float = math.inf) -> Callable[[], Outcome | None] | None:
        """The round that is due at that stream time, None if none is; call it once, on any thread.

        Its frames are taken from the buffer. What it returns goes to ``settle``.
        """
        full = self.pool.frames >= self.batch if self.every else self.waiting.due
        full = full and not self.rests
        early = 0 <= now_s - self.began_s < self.commit_s  # a clock set back is no reason to wait
        if full and not early:
            self.began_s = now_s if math.isfinite(now_s) else self.began_s
            chosen = self.take()
            pooled = self.pool.take() if self.every else None
            return lambda: self.consider(chosen, pooled)
        adapted = self.current is not self.origin and self.guard.guards
        if not self.guard.guards or self.every or full:
            return None
        if (since := self.tripwire.look()) is not None:
            return lambda: peek(self, since)
        if adapted and (half := self.waiting.look()) is not None:
            return lambda: glance(self, half)
        return None

    def show(self, x: Array) -> None:
        """Show the monitor the answer to the frame served last, if the frozen model gave it.

        While the state is the source, it did. Once adapted, the frozen model's answers are the views with
        which rounds of adaptation begin, so that watching costs no forward of its own.
        """
        answer, self.frozen = self.frozen, None
        if answer is not None:
            self.monitor.observe(answer, x)

    def _show_view(self, outcome: Outcome) -> None:
        """Show the monitor the frozen model's answers to a round's batch, each frame once."""
        if outcome.view is not None and outcome.batch is not None:
            for k, (x, answer) in enumerate(zip(outcome.batch, self._all(outcome.view.outputs))):
                if outcome.fresh is None or outcome.fresh[k]:
                    self.monitor.observe(answer, x)

    def adapt(self, batch: Array | Selection) -> tuple[Decision, list[Prediction]]:
        """One round on a batch ``(n, ...)``: observe → adapt → verify → commit or roll back.

        Returns:
            The decision, and what the batch itself is to be served with: the method's outputs where
            they were accepted, else those of the state in force.
        """
        outcome = self.consider(batch)
        if self.by_source:  # else settle does; these frames were served by nobody before
            self._show_view(outcome)
        decision = self.settle(outcome)
        inputs = batch.inputs if isinstance(batch, Selection) else batch
        return decision, self._answers(inputs, outcome)

    def consider(self, batch: Array | Selection, pooled: Step | None = None) -> Outcome:
        """What a round on some frames comes to, see ``tta.runtime.round``."""
        chosen = batch if isinstance(batch, Selection) else Selection(batch)
        return consider(self, chosen, pooled)

    def settle(self, outcome: Outcome) -> Decision:
        """Put an outcome in force, between two frames: the swap is one assignment.

        An outcome that would change a state which is no longer in force is dropped and counted.
        """
        counts = self.counts
        as_came = outcome.newest or (outcome.fresh is None and not self.waiting.selects)
        if outcome.view is not None and as_came:
            self.monitor.observe_step(outcome.view)  # scores are calibrated on frames as they came
        if not self.by_source:  # else the monitor saw these frames as they were served
            self._show_view(outcome)
        counts.holds += outcome.holds
        counts.adapt_s += outcome.figures.get("adapt_ms", 0.0) / 1e3
        counts.rollbacks += outcome.action == "rollback"
        action, reason = outcome.action, outcome.reason
        if outcome.seen is not self.current:
            if outcome.state is not None or outcome.proposal is not None:
                counts.stale += 1
                action, reason = "reject", "the state it was made from is no longer in force"
        else:
            self.proposal = outcome.proposal
            if outcome.state is not None:
                self._put(outcome.state, outcome.served)
                counts.commits += action == "commit"
                counts.resets += action == "reset"
            if outcome.jumped:
                self.waiting = self.waiting.moved()
                if outcome.early:
                    self.recent.clear()
                    self.waiting = self.waiting.hurried(SOON)
            if outcome.back:
                self.monitor.watch.resettle()
                self.waiting = self.waiting.renewed()
        return Decision(action, reason, self.serving, self.current.step, outcome.figures)

    def restore(self, state: State) -> None:
        """Serve a saved state of this bundle, and go on from it.

        The governor has not seen the stream that the state is for, so where it would begin at the source, it
        begins at this state. A stream that turns out to be as the source resets it nevertheless.

        Raises:
            StateError: the state belongs to another bundle, or another method made it.
        """
        if state.bundle != self.model.bundle.hash:
            raise StateError(
                "this state was adapted from another bundle: use the bundle it came from"
            )
        if state.adapter != self.origin.adapter and self.guard.mode != "off":
            raise StateError(
                f"adapter {state.adapter!r} made this state, and {self.origin.adapter!r} cannot go on "
                f"from it: choose {state.adapter!r}, or turn the governor off to serve it as it is"
            )
        self._serve(state)
        self.restored = state is not self.origin

    def to_source(self) -> None:
        """Serve the source again, and forget the frames that wait: the input is another from here on."""
        if self.current is not self.origin:
            self.counts.resets += 1
        self._serve(self.origin)
        self.waiting = self.waiting.empty()

    def switch(self, mode: Mode) -> None:
        """Have the governor go on in another mode, and serve what that mode serves."""
        self.guard.switch(mode)
        self._serve(self.current)

    @property
    def by_source(self) -> bool:
        """Whether the source model answers."""
        return self.serving == self.model.source_hash

    def _serve(self, state: State) -> None:
        """Put a state in force that no round has made, and forget what was learned beside it."""
        self.proposal = None
        self.guard.begin()
        self._put(state, None)

    def _put(self, state: State, served: tuple[InferSession, str] | None) -> None:
        """Put a state in force; in shadow its session stays in the background."""
        if self.guard.hides:
            served = (self.model.source, self.model.source_hash)
        retired = [self.session] if hasattr(self, "session") else []  # held by nothing else here
        self.session, self.serving = served or self.model.serve(state)
        self.current = state
        self.pool.clear()  # of statistics under another state
        self.monitor.observe_state(state.slots, self.model.bundle.source_slots)
        if retired and retired[0] is not self.session:
            self.retire(retired)

    def _answers(self, batch: Array, outcome: Outcome) -> list[Prediction]:
        """What a batch is served with; of the source state, the frozen view has said it."""
        if outcome.outputs is not None and not self.guard.hides:
            return self._all(outcome.outputs)
        if self.by_source and outcome.view is not None:
            return self._all(outcome.view.outputs)
        run = self.model.adapting.run
        return self._all(run("batch", batch, self.current.slots, alpha=0.0).outputs)

    def _all(self, outputs: Mapping[str, Array]) -> list[Prediction]:
        return [prediction(self.model.bundle, one, 0.0) for one in each(outputs)]


__all__ = [
    "Counts", "Model", "Outcome", "Step", "Stream", "check_coupling", "check_needs", "fewest",
    "make_adapter", "prediction", "unfit",
]  # fmt: skip
