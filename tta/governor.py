"""The governor of one stream: says when to adapt, from where, and what may be put in force.

It looks at each batch through the frozen view: the model with its source slots. Its layer statistics tell
whether the stream has left the source at all, and whether it has moved since the last batch; adaptation
cannot hide that, since the view does not adapt.

::

    view nearer to the source than its calibrated noise    hold   serve the source model
    view far from what it was lately                       restart from the source, or from a known domain
    else                                                   adapt  from where we are

A proposal is not put in force on the batch it was made from. It waits, and the frames that come next are run
through the source and through it; what the checks say of the two gives the log odds that it harms:

::

    below COMMIT, no veto      the proposal is put in force
    above 0, or a veto         it is dropped
    between                    it goes on learning, and waits on

The state in force is judged by the same frames, on average over its rounds, and gives way to the source where
it probably harms.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tta import registry, tasks
from tta.errors import TtaError
from tta.evidence import Evidence
from tta.harm import log_odds
from tta.manifest import Manifest
from tta.moments import blend, distance
from tta.monitor import threshold
from tta.protocols import Check
from tta.records import Array, Moments, Step

Mode = Literal["auto", "shadow", "always", "frozen", "off"]
MODES = ("auto", "shadow", "always", "frozen", "off")
Action = Literal["hold", "restart", "adapt"]
JUMP = 3.0  # batch-noise widths that a view may differ from the stream's recent ones
LEAP = 8.0  # widths that the newest frames alone may differ from them, which may be of one class
MEMORY = 0.2  # share of the newest view in the stream's signature
COMMIT = -1.0  # log odds of harm below which a proposal is put in force: 27 %
RESET = 0.0  # log odds above which it is dropped, and the state in force gives way: 50 %
NEWEST = 0.5  # share of the newest judgement in that of the state in force
SETTINGS = {
    "jump": JUMP, "leap": LEAP, "memory": MEMORY, "commit": COMMIT, "reset": RESET, "newest": NEWEST,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a batch, why, and the figures behind it."""

    action: Action
    reason: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checks say of a proposed state.

    Attributes:
        reason: why it must not be in force; empty if nothing speaks against it.
        harm: log odds that it is worse than the source; nan where no check can tell.
        figures: the checks' figures.
    """

    reason: str
    harm: float
    figures: Mapping[str, float]

    @property
    def passes(self) -> bool:
        """Whether it may be put in force."""
        return not self.reason and not self.harm >= COMMIT


class Governor:
    """Stands guard over one stream's state.

    Args:
        manifest: gives the calibrated thresholds.
        calibration: source statistics by layer, and what checks must know of the source.
        mode: ``auto`` adapts while the stream is away from the source, ``shadow`` does the same and serves
            the source model, ``always`` adapts on every batch and never resets (published protocols),
            ``frozen`` serves the source model, ``off`` leaves what is in force as it is. ``auto`` without
            calibrated thresholds cannot tell drift from noise and adapts always; ``reason`` says so.
        batch: frames a batch.
    """

    def __init__(
        self,
        manifest: Manifest,
        calibration: Mapping[str, Array],
        mode: Mode = "auto",
        batch: int = 16,
    ) -> None:
        self.switch(mode)
        self._manifest, self._source, self._batch = manifest, calibration, batch
        self._signature: dict[str, Array] = {}
        self._spread = math.nan
        self._stride = math.nan  # usual distance of the newest frames
        self._standing = math.nan  # log odds of harm of the state in force
        self._checks = make_checks(manifest, calibration)

    def switch(self, mode: Mode) -> None:
        """Go on in another mode."""
        if mode not in MODES:
            raise TtaError(f"the governor's mode is one of {', '.join(MODES)}, but is {mode!r}")
        self.mode = mode

    @property
    def signature(self) -> Mapping[str, Array]:
        """Layer statistics of the stream's recent frozen views; empty while it is as the source."""
        return self._signature

    def width(self, n: int) -> float:
        """How far views of n frames may be from the world that they are of; nan without a threshold."""
        noise = threshold(self._manifest, "statistics_kl", n)
        return math.nan if noise is None else LEAP * noise

    @property
    def guards(self) -> bool:
        """Whether proposals are judged."""
        return self.mode in ("auto", "shadow")

    @property
    def hides(self) -> bool:
        """Whether the source model serves, whatever is in force."""
        return self.mode in ("shadow", "frozen")

    def plan(self, view: Step, n: int | None = None, mixed: bool = False) -> Plan:
        """What to do with a batch whose frozen view is this.

        Args:
            view: under the source slots.
            n: frames, by default as many as a batch has.
            mixed: whether they were chosen out of many; if not, they may be neighbours that show one thing.
        """
        if self.mode in ("off", "frozen"):
            return Plan("hold", f"adaptation is {self.mode}", {})
        if self.mode == "always":
            return Plan("adapt", "adapting on every batch", {})
        source = _mean(distance(view.moments, self._source))
        noise = threshold(self._manifest, "statistics_kl", n or self._batch)
        if mixed:
            known = threshold(self._manifest, "statistics_kl_mixed", n or self._batch)
            noise = noise if known is None else known
        if noise is None or math.isnan(source):
            return Plan("adapt", "no calibrated threshold in the bundle: adapting always", {})
        figures = {"from_source": source, "threshold": noise}
        if source <= noise:
            self._signature, self._spread = {}, math.nan
            return Plan("hold", "the stream is as the source", figures)
        if not self._signature:
            self._learn(view.moments)
            return Plan("restart", "the stream left the source", figures)
        moved = _mean(distance(view.moments, self._signature))
        figures["from_recent"] = moved
        usual = noise if math.isnan(self._spread) else max(noise, self._spread)
        if moved > JUMP * usual:
            self._signature, self._spread = {}, math.nan
            self._learn(view.moments)
            return Plan("restart", "the stream jumped", figures)
        self._spread = moved if math.isnan(self._spread) else 0.8 * self._spread + 0.2 * moved
        self._learn(view.moments)
        return Plan("adapt", "the stream is away from the source", figures)

    def leaps(self, view: Step, n: int) -> bool:
        """Whether the newest frames, whose frozen view this is, are of another world than those before.

        Those before are the source's while the stream is not away from it.

        For buffers that keep old frames: these would hide a jump for long. Frames of one class are away from
        those of all classes too, so the distance must be larger than classes make it. Measured on the
        demo's model: 16 frames of one class differ by 1 to 6 widths (5 to 99 %) from the mixture, half of all
        changes of the corruption by more than 10.
        """
        noise = self.width(n) / LEAP
        if not self.guards or math.isnan(noise):
            return False
        moved = _mean(distance(view.moments, self._signature or self._source))
        usual = noise if math.isnan(self._stride) else self._stride
        limit = max(LEAP * noise, JUMP * usual)
        self._stride = 0.8 * usual + 0.2 * min(moved, 2 * limit)  # one far leap hides no later one
        if not moved > limit:
            return False
        self._signature, self._spread = {}, math.nan
        return True

    def returned(self, view: Step, n: int) -> Plan | None:
        """A plan to hold where a view of n frames is as the source, else None.

        Few frames are noisy, and a mild shift is within their noise: they must be nearer to the source than
        to what the stream was lately as well.
        """
        source = _mean(distance(view.moments, self._source))
        noise = threshold(self._manifest, "statistics_kl", n)
        if noise is None or not source <= noise:
            return None
        if self._signature and source >= _mean(distance(view.moments, self._signature)):
            return None
        self._signature, self._spread = {}, math.nan
        figures = {"from_source": source, "threshold": noise}
        return Plan("hold", "the stream is back at the source", figures)

    def judge(self, evidence: Evidence) -> Verdict:
        """What the checks say of a proposal; a check that raises vetoes, and never lets through."""
        figures: dict[str, float] = {}
        vetoes = []
        for name, check in self._checks.items():
            try:
                figure = float(check.figure(evidence))
                if figure > check.threshold:
                    vetoes.append(check.says(figure))
            except Exception as error:
                vetoes.append(f"check {name} failed: {error}")
                continue
            if not math.isnan(figure):
                figures[name] = figure
        harm = log_odds(figures)
        if not math.isnan(harm):
            figures["harm"] = harm
        if not vetoes and harm > RESET:
            vetoes.append(f"it is probably worse than the source: odds {_odds(harm)}")
        return Verdict("; ".join(vetoes), harm, figures)

    def begin(self, verdict: Verdict | None = None) -> None:
        """Another state is in force: the one of that verdict, or the source."""
        self._standing = math.nan if verdict is None else verdict.harm

    def stands(self, verdict: Verdict) -> str:
        """Why the state in force must give way to the source, by this verdict and those before; empty if not.

        One batch may be odd, so the log odds are averaged over rounds; a veto counts at once.
        """
        new = verdict.harm
        if not math.isnan(new):
            old = self._standing
            self._standing = new if math.isnan(old) else NEWEST * new + (1 - NEWEST) * old
        if verdict.reason and not new > RESET:
            return verdict.reason
        if self._standing > RESET:
            return f"it is probably worse than the source: odds {_odds(self._standing)}"
        return ""

    def _learn(self, moments: Mapping[str, Moments]) -> None:
        for layer, batch in moments.items():
            old = (
                self._signature.get(f"mean.{layer}", batch.mean),
                self._signature.get(f"var.{layer}", batch.var),
            )
            new = blend(old, (batch.mean, batch.var), MEMORY)
            self._signature[f"mean.{layer}"], self._signature[f"var.{layer}"] = new


def make_checks(manifest: Manifest, calibration: Mapping[str, Array]) -> dict[str, Check]:
    """The checks that suit the task, by name; one whose class takes arguments is told of the source."""
    made = {}
    for name in registry.names("tta.checks"):
        found: Any = registry.load("tta.checks", name)
        if tasks.refusal(f"check {name!r}", found, manifest.task):
            continue
        asks = inspect.signature(found).parameters
        made[name] = found(manifest, calibration) if asks else found()
    return made


def _odds(harm: float) -> str:
    return f"{math.exp(min(harm, 20.0)):.1f} to 1"


def _mean(values: Mapping[str, float]) -> float:
    return float(np.mean(list(values.values()))) if values else math.nan
