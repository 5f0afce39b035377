"""Batch statistics: norm layers follow the stream's mean and variance; weights stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tta.adapters._source import remembered, source_slots
from tta.errors import TtaError
from tta.manifest import Manifest
from tta.moments import blend, mixture
from tta.momentum import Momentum
from tta.protocols import Run
from tta.records import Array, Moments, Span, State, Step


class BnStats:
    """Prediction-time batch normalization in five forms.

    With source statistics s and those of the stream b, the model runs on (1-α)·s + α·b:

    - ``alpha`` given: that share (α = 1 is BN-1 of Nado et al., "Evaluating prediction-time batch
      normalization for robustness under covariate shift", 2020);
    - ``prior`` given: α = n/(n + prior) for a batch of n frames (Schneider et al., "Improving robustness
      against common corruptions by covariate shift adaptation", NeurIPS 2020, eq. 3);
    - ``momentum``: what is committed are moving averages of b, new = (1-m)·old + m·batch, begun as a
      plain mean so that the first batch counts in full. Serving a stream uses these; serving the
      batch itself uses the batch's own statistics;
    - ``tau_s``: the moving averages have a time constant in seconds of stream time instead, whatever the
      frame rate and the batch; ``tta.momentum.Momentum`` has the rule. They begin at s, and frames are
      measured under the state in force (alpha = 0), where each one's moments are its own and no other's.
      A batch is taken in pieces of at most τ/16, so that the state in force is of the same age at
      any rate. Outputs are those of the state in force too, and a batch may be one frame;
    - ``ghost`` given: the moving averages take one step of ``momentum`` for each so many frames of the
      stream, however they were cut into batches: a batch is cut anew where a ghost ends, and what is left
      waits in memory. Measured and begun as with ``tau_s``.

    Layers that have no mean and var slots (LayerNorm and the like) do not change.
    Cost: one forward of ``batch.onnx`` a step. Departure: the moving variance is that of the mixture, with
    the spread of the batch means in it.
    """

    needs = frozenset({"batch"})

    def __init__(
        self,
        alpha: float | None = None,
        prior: float | None = None,
        momentum: float = 0.1,
        ghost: int = 0,
        tau_s: float | None = None,
    ) -> None:
        if alpha is not None and prior is not None:
            raise TtaError("bn_stats takes alpha or prior, not both")
        if alpha is not None and not 0 <= alpha <= 1:
            raise TtaError(f"alpha is a share in 0..1, but is {alpha}")
        if prior is not None and prior < 0:
            raise TtaError(f"prior is a number of frames, but is {prior}")
        self.alpha, self.prior = alpha, prior
        self.momentum = Momentum(momentum, ghost, tau_s)
        if prior is not None and not self.momentum.by_batch:
            raise TtaError(
                "prior counts the frames of one batch: with ghost or tau_s take alpha instead"
            )
        # with a smaller share some of the source's variance is left
        self.couples = self.momentum.by_batch and self.share(1) == 1

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state; source statistics are remembered, since the slots will move."""
        source = {s.name: slots[s.name] for s in manifest.named("mean", "var", "square")}
        return State(manifest.hash, "bn_stats", slots, remembered(source))

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """Moving averages into the mean and var slots; outputs by the batch's own statistics."""
        if not self.momentum.by_batch:
            return self._in_pieces(state, batch, run)
        alpha = self.share(len(batch))
        source = {**state.slots, **source_slots(state)}
        step = run("batch", batch, source, alpha=alpha)
        return self.observe(state, step), step.outputs

    def _in_pieces(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """One piece after the other, each under the state that those before it made."""
        span, after, outputs = getattr(run, "span", Span(len(batch))), state, []
        for piece in np.split(batch, self.momentum.cuts(span, waiting(state))):
            step = run("batch", piece, after.slots, alpha=0.0)
            after = self._wait(after, step) if self.momentum.ghost else self.observe(after, step)
            outputs.append(step.outputs)
        joined = {name: np.concatenate([o[name] for o in outputs]) for name in outputs[0]}
        return replace(after, step=state.step + 1, parent=state.hash), joined

    def _wait(self, state: State, step: Step) -> State:
        """The state after a piece of a ghost: learned from once the ghost is whole."""
        span = step.span or Span(1)
        memory, moments = joined_ghost(state, step.moments, span.frames)
        if memory["ghost.frames"] < self.momentum.ghost:
            return state.child(memory=memory)
        whole = Span(self.momentum.ghost)
        after = self.observe(state, Step({}, moments, span=whole))
        return after.child(memory={"ghost.frames": np.array(0, np.int64)})

    def observe(self, state: State, step: Step) -> State:
        """The state after a step whose moments are those of as many frames as it has outputs."""
        alpha = self.share(max((len(v) for v in step.outputs.values()), default=1))
        anchored = not self.momentum.by_batch
        memory = moving_averages(state, step.moments, self.momentum, step.span, anchored)
        return self.moved(state, memory, alpha)

    def moved(self, state: State, memory: Mapping[str, Array], alpha: float) -> State:
        """The state whose slots are (1-α)·source + α·moving averages."""
        slots = {}
        for name, value in source_slots(state).items():
            followed = memory.get(f"ema.{name}")
            if followed is not None:
                slots[name] = np.float32(1 - alpha) * value + np.float32(alpha) * followed
        return state.child(slots, memory)

    def share(self, n: int) -> float:
        """Alpha for a batch of n frames."""
        if self.prior is not None:
            return n / (n + self.prior)
        return 1.0 if self.alpha is None else self.alpha


def moving_averages(
    state: State,
    moments: Mapping[str, Moments],
    momentum: float | Momentum,
    span: Span | None = None,
    anchored: bool = False,
) -> dict[str, Array]:
    """Memory entries ``ema.<layer>.mean``, ``ema.<layer>.var`` and what else is kept, after one more batch.

    Args:
        state: the state so far.
        moments: the batch's, by layer.
        momentum: a share a batch, max(momentum, 1/k) at the k-th, or another rule.
        span: what the batch stands for; ``Step.span``.
        anchored: begin at the state's own statistics, in place of the first batch's.
    """
    rule = momentum if isinstance(momentum, Momentum) else Momentum(momentum)
    share, memory = rule.weigh(state.memory, span or Span(1), anchored)
    merge = blend if rule.by_batch else mixture  # small shares need float64
    for layer, batch in moments.items():
        mean, var, square = (f"{layer}.{kind}" for kind in ("mean", "var", "square"))
        if square in state.slots:  # no mean: the second moment itself
            own = np.float64(batch.var) + np.square(batch.mean, dtype=np.float64)
            was = state.memory.get(f"ema.{square}", state.slots[square] if anchored else own)
            memory[f"ema.{square}"] = (1 - share) * was + share * own
        if mean not in state.slots:
            continue
        first = (state.slots[mean], state.slots[var]) if anchored else (batch.mean, batch.var)
        old = (
            state.memory.get(f"ema.{mean}", first[0]),
            state.memory.get(f"ema.{var}", first[1]),
        )
        memory[f"ema.{mean}"], memory[f"ema.{var}"] = merge(old, (batch.mean, batch.var), share)
    return memory


def waiting(state: State) -> int:
    """Frames of a ghost that is not whole yet."""
    return int(state.memory.get("ghost.frames", np.int64(0)))


def joined_ghost(
    state: State, moments: Mapping[str, Moments], frames: int
) -> tuple[dict[str, Array], dict[str, Moments]]:
    """The ghost that waits in a state's memory with more frames in it: as memory, and as moments."""
    have = waiting(state)
    memory: dict[str, Array] = {"ghost.frames": np.array(have + frames, np.int64)}
    joined = {}
    for layer, new in moments.items():
        mean, var = f"ghost.{layer}.mean", f"ghost.{layer}.var"
        old = (state.memory[mean], state.memory[var]) if have else (new.mean, new.var)
        memory[mean], memory[var] = mixture(old, (new.mean, new.var), frames / (have + frames))
        joined[layer] = Moments(memory[mean], memory[var], new.n * (have + frames) / frames)
    return memory, joined
