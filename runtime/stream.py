"""A stream: one source with its own state, monitor, governor and buffer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tta import registry
from tta.bundle import Bundle
from tta.errors import BundleError, StateError, TtaError
from tta.governor import Governor, Mode
from tta.monitor import Monitor
from tta.protocols import Adapter
from tta.records import Array, Decision, Frame, Prediction, State, Step, content_hash
from tta.runtime.buffer import FrameBuffer
from tta.runtime.options import fit
from tta.runtime.preprocess import build
from tta.runtime.session import AdaptSession, InferSession

PROBE_FRAMES = 4
PROBE_TOLERANCE = 1e-3  # of the largest output; conv with folded norms rounds differently
SHORT = 12  # digits of a state hash in reports


class Model:
    """A bundle's sessions, shared by streams: one inference session a distinct state, one adaptation."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self.bundle, self.threads = bundle, threads
        self.calibration = bundle.calibration()
        self.adapting = AdaptSession(bundle, threads)
        self.source = InferSession(bundle, threads=threads)
        self.source_hash = content_hash(bundle.source_slots)[:SHORT]

    def serve(self, state: State) -> tuple[InferSession, str]:
        """An inference session for a state's slots, and their short hash."""
        digest = content_hash(state.slots)[:SHORT]
        if digest == self.source_hash:
            return self.source, digest
        return InferSession(self.bundle, state.slots, self.threads), digest


@dataclass
class Counts:
    """What happened to a stream's frames and steps."""

    frames: int = 0
    skipped: int = 0
    unreadable: int = 0  # readings that the source could make no frame of
    last_unreadable: str = ""
    commits: int = 0
    rollbacks: int = 0
    resets: int = 0
    holds: int = 0


@dataclass
class Stream:
    """State and guard of one source; ``tta.runtime.loop`` says in which order its parts act.

    Args:
        model: the bundle's sessions.
        adapter: ``name?option=value``, or an adapter object.
        name: name in results.
        batch: frames an adaptation step.
        governor: ``auto``, ``always`` or ``off``.
        metrics: drift metrics; default all.
        state: state to start from; default the source.
    """

    model: Model
    adapter: Adapter | str = "nhl"
    name: str = ""
    batch: int = 16
    governor: Governor | Mode = "auto"
    metrics: list[str] | None = None
    state: State | None = None
    counts: Counts = field(default_factory=Counts)
    session: InferSession = field(init=False)
    serving: str = field(init=False)

    def __post_init__(self) -> None:
        bundle = self.model.bundle
        manifest = bundle.manifest
        if self.batch < 1:
            raise TtaError(f"a batch holds at least one frame, but batch is {self.batch}")
        given, guard = self.adapter, self.governor
        self.method: Adapter = make_adapter(given) if isinstance(given, str) else given
        check_needs(self.method, bundle)
        self.guard = (
            Governor(manifest, self.model.calibration, guard, self.batch)
            if isinstance(guard, str)
            else guard
        )
        self.monitor = Monitor(manifest, self.model.calibration, self.metrics, self.batch)
        self.preprocess = build(manifest.preprocess, manifest.input)
        self.buffer = FrameBuffer(self.batch)
        self.complaint = ""  # why the last skipped frame was skipped
        self.origin: State = self.method.init(manifest, bundle.source_slots)
        self.restored = False  # whether the governor has yet to see the stream that a state is for
        self.current: State = self.origin
        if self.state is None:
            self._serve(self.origin)
        else:
            self.restore(self.state)

    def collect(self, x: Array) -> None:
        """Put a bare model input into the buffer, as the next frame of the stream."""
        self.buffer.add(Frame(x, 0.0, self.counts.frames), x)
        self.counts.frames += 1

    def predict(self, x: Array) -> Prediction:
        """The served model's answer to one input, without the batch axis."""
        start = time.perf_counter()
        outputs = self.session.run(x[None])
        latency = time.perf_counter() - start
        found = prediction(self.model.bundle, {k: v[0] for k, v in outputs.items()}, latency)
        found = replace(found, state=self.serving)
        change = getattr(self.method, "predict", None)
        return change(found, self.current) if callable(change) else found

    def peek(self, batch: Array) -> Decision | None:
        """Look at half a batch: a stream that is back at its source need not wait for the other half."""
        if self.current is self.origin or self.guard.mode != "auto":
            return None
        start = time.perf_counter()
        view = self.model.adapting.run("batch", batch, self.model.bundle.source_slots, alpha=0.0)
        plan = self.guard.returned(view, len(batch))
        if plan is None:
            return None
        self._serve(self.origin)
        self.counts.resets += 1
        return self._decide("reset", plan.reason, plan.figures, start)

    def adapt(self, batch: Array) -> tuple[Decision, list[Prediction]]:
        """One round on a batch ``(n, ...)``: observe → adapt → verify → commit or roll back.

        Returns:
            The decision, and what the batch itself is to be served with: the method's outputs where
            they were accepted, else those of the state in force.
        """
        start = time.perf_counter()
        run = self.model.adapting.run
        view = run("batch", batch, self.model.bundle.source_slots, alpha=0.0)
        self.monitor.observe_step(view)
        plan = self.guard.plan(view)
        figures = dict(plan.figures)
        if plan.action == "hold":
            self.counts.holds += 1
            action = "hold"
            if self.current is not self.origin and self.guard.mode != "off":
                self._serve(self.origin)
                self.counts.resets += 1
                action = "reset"
            return self._decide(action, plan.reason, figures, start), self._in_force(batch, view)
        anew = plan.action == "restart" and not self.restored
        base, self.restored = self.origin if anew else self.current, False
        try:
            proposal, outputs = self.method.adapt(base, batch, run)
        except ValueError as error:  # a slot that is not finite, or of another shape
            return self._roll_back(str(error), figures, start), self._in_force(batch, view)
        reason = unfit(proposal, base)
        if reason:
            return self._roll_back(reason, figures, start), self._in_force(batch, view)
        if proposal.slots is base.slots and base is self.current:
            decision = self._decide("hold", "the method changed nothing", figures, start)
            return decision, self._all(outputs)
        # what the served session will say of these frames; a few suffice where nothing is checked
        checked = batch if self.guard.mode == "auto" else batch[:PROBE_FRAMES]
        after = run("batch", checked, proposal.slots, alpha=0.0)
        reason, measured = self.guard.veto(after, view)
        figures.update(measured)
        if reason:
            return self._roll_back(reason, figures, start), self._in_force(batch, view)
        session, serving = self.model.serve(proposal)  # in force once it has passed its probe
        figures["probe"] = self._probe(session, batch[:PROBE_FRAMES], after)
        if not figures["probe"] <= PROBE_TOLERANCE:
            reason = "the served session disagrees with the step graph"
            return self._roll_back(reason, figures, start), self._in_force(batch, view)
        self.current, self.session, self.serving = proposal, session, serving
        self.counts.commits += 1
        return self._decide("commit", plan.reason, figures, start), self._all(outputs)

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
        self.buffer = FrameBuffer(self.batch)

    def _serve(self, state: State) -> None:
        self.session, self.serving = self.model.serve(state)
        self.current = state

    def _probe(self, session: InferSession, batch: Array, after: Step) -> float:
        """Largest difference between a session and the batch graph, relative to the output."""
        primary = self.model.bundle.manifest.primary
        expected = after.outputs[primary][: len(batch)]
        got = session.run(batch)[primary]
        scale = max(1.0, float(np.abs(expected).max()))
        return float(np.abs(got - expected).max()) / scale

    def _roll_back(self, reason: str, figures: Mapping[str, float], start: float) -> Decision:
        self.counts.rollbacks += 1
        return self._decide("rollback", reason, figures, start)

    def _decide(
        self, action: str, reason: str, figures: Mapping[str, float], start: float
    ) -> Decision:
        timed = {**figures, "adapt_ms": (time.perf_counter() - start) * 1e3}
        return Decision(action, reason, self.serving, self.current.step, timed)

    def _in_force(self, batch: Array, view: Step) -> list[Prediction]:
        """What the state in force says of a batch; of the source state, the frozen view has said it."""
        if self.current is self.origin:
            return self._all(view.outputs)
        return self._all(
            self.model.adapting.run("batch", batch, self.current.slots, alpha=0.0).outputs
        )

    def _all(self, outputs: Mapping[str, Array]) -> list[Prediction]:
        n = len(next(iter(outputs.values())))
        return [
            prediction(self.model.bundle, {k: v[i] for k, v in outputs.items()}, 0.0)
            for i in range(n)
        ]


def prediction(bundle: Bundle, outputs: Mapping[str, Array], latency_s: float) -> Prediction:
    """A prediction from one frame's outputs; a classifier's logits become probabilities."""
    logits = outputs[bundle.manifest.primary]
    probabilities, entropy = np.zeros(0, np.float32), float("nan")
    if bundle.manifest.task == "classify":
        shifted = logits - logits.max()
        exponential = np.exp(shifted)
        total = exponential.sum()
        probabilities = exponential / total
        entropy = float(np.log(total) - (probabilities * shifted).sum())
    return Prediction(outputs, probabilities, entropy, latency_s, "")


def unfit(proposal: State, base: State) -> str:
    """Why a proposal cannot be served, empty if it can; ``State.child`` says the same, but not all use it."""
    for name, old in base.slots.items():
        new = proposal.slots.get(name)
        if new is old:
            continue
        if new is None or new.shape != old.shape or new.dtype != old.dtype:
            return f"slot {name} is missing, or of another shape or type"
        if not np.isfinite(new).all():
            return f"the new value of slot {name} is not finite"
    for name, new in proposal.memory.items():
        if not np.isfinite(new).all():
            return f"the new value of memory {name} is not finite"
    return ""


def make_adapter(text: str) -> Adapter:
    """The adapter that ``name?option=value`` names, each option of the type that its class says.

    Raises:
        NotFoundError: unknown name or option.
        TtaError: a value of the wrong type, or the class is no adapter.
    """
    name, _, query = text.partition("?")
    made = registry.load("tta.adapters", name)
    adapter: Adapter = made(**fit(made, f"adapter {name!r}", [], query, {}, TtaError))
    if missing := [member for member in ("needs", "init", "adapt") if not hasattr(adapter, member)]:
        raise TtaError(f"{name!r} is no adapter: it has no {', '.join(missing)}")
    return adapter


def check_needs(adapter: Any, bundle: Bundle) -> None:
    """Refuse an adapter that needs graphs which the bundle lacks, before the first frame."""
    missing = sorted(set(adapter.needs) - set(bundle.manifest.provides))
    if missing:
        name = type(adapter).__module__.rpartition(".")[2].rstrip("_")
        objectives = ",".join(g.removeprefix("step/") for g in missing)
        raise BundleError(
            f"adapter {name!r} needs {', '.join(missing)}, but this bundle provides "
            f"{', '.join(bundle.manifest.provides)}: export again with --objectives {objectives}"
        )


__all__ = [
    "Counts",
    "Model",
    "Step",
    "Stream",
    "check_needs",
    "make_adapter",
    "prediction",
    "unfit",
]
