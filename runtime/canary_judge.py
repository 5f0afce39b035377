"""Canaries at work: what a state says of labelled frames, beside what the frozen model says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tta.canaries import SHOWN, Canaries, Finding
from tta.canary_data import shipped
from tta.governor import Verdict
from tta.records import Array, State
from tta.runtime.answer import prediction
from tta.runtime.canary_folder import CanaryFolder
from tta.runtime.model import Model


class CanaryJudge:
    """Judges states on the canaries of one stream; each costs a forward of at most 32 frames.

    Args:
        model: the bundle's sessions.
        canaries: labelled frames; what the frozen model says of them is asked for once.
    """

    def __init__(self, model: Model, canaries: Canaries) -> None:
        self._model, self._canaries = model, canaries
        self._frozen: Array | None = None
        self._number = 0

    def next(self) -> None:
        """The next round comes: other minor members have their turn."""
        self._number += 1

    def judge(self, method: Any, state: State) -> Finding:
        """What this round's members say of a state."""
        places = self._canaries.turn(self._number)
        shown = self._canaries.at(places)
        return shown.judge(self._before()[places], self._answers(shown.inputs, state, method))

    def added(self, verdict: Verdict, method: Any, state: State) -> Verdict:
        """The checks' verdict with the canaries' veto; canaries that cannot be judged veto, too."""
        try:
            found = self.judge(method, state)
        except Exception as error:
            found = Finding(f"canaries failed: {error}", {})
        reason = "; ".join(filter(None, (verdict.reason, found.reason)))
        return Verdict(reason, verdict.harm, {**verdict.figures, **found.figures})

    def _before(self) -> Array:
        if self._frozen is None:
            source = self._model.bundle.source_slots
            parts = [
                self._run(np.stack(self._canaries.frames[k : k + SHOWN]), source)
                for k in range(0, len(self._canaries), SHOWN)
            ]
            self._frozen = np.concatenate(parts)
        return self._frozen

    def _answers(self, inputs: Array, state: State, method: Any) -> Array:
        """The primary output, or the probabilities of a method that changes answers."""
        change = getattr(method, "predict", None)
        if not callable(change) or self._canaries.task != "classify":
            return self._run(inputs, state.slots)
        outputs = self._model.adapting.run("batch", inputs, state.slots, alpha=0.0).outputs
        bundle = self._model.bundle
        said = []
        for k in range(len(inputs)):
            one = prediction(bundle, {name: v[k] for name, v in outputs.items()}, 0.0)
            said.append(change(one, state).probabilities)
        return np.stack(said)

    def _run(self, inputs: Array, slots: Any) -> Array:
        primary = self._model.bundle.manifest.primary
        batch = np.ascontiguousarray(inputs, self._model.bundle.manifest.input.dtype)
        found: Array = self._model.adapting.run("batch", batch, slots, alpha=0.0).outputs[primary]
        return found


def canary_judge(model: Model, folder: str | Path | None, stream: str) -> CanaryJudge | None:
    """The judge of a stream: the bundle's canaries, and those in ``folder/<stream>``; None without any.

    Raises:
        TtaError: they do not fit the bundle, or cannot be read.
    """
    found = shipped(model.bundle)
    if folder is not None:
        own = CanaryFolder(Path(folder).expanduser() / (stream or "stream"), model.bundle).load()
        if own is not None:
            found = own if found is None else found.joined(own)
    return None if found is None else CanaryJudge(model, found)
