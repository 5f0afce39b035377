"""The governor of one stream: says when to adapt, from where, and what may be committed.

It looks at each batch through the frozen view: the model with its source slots. Its layer statistics tell
whether the stream has left the source at all, and whether it has moved since the last batch; adaptation
cannot hide that, since the view does not adapt.

::

    view nearer to the source than its calibrated noise    hold   serve the source model
    view far from what it was lately                       restart from the source, at this batch
    else                                                   adapt  from where we are
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tta import registry
from tta.errors import TtaError
from tta.manifest import Manifest
from tta.moments import blend, distance
from tta.monitor import threshold
from tta.records import Array, Moments, Step

Mode = Literal["auto", "always", "off"]
Action = Literal["hold", "restart", "adapt"]
JUMP = 3.0  # batch-noise widths that a view may differ from the stream's recent ones
MEMORY = 0.2  # share of the newest view in the stream's signature


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a batch, why, and the figures behind it."""

    action: Action
    reason: str
    figures: Mapping[str, float]


class Governor:
    """Stands guard over one stream's state.

    Args:
        manifest: gives the calibrated thresholds.
        calibration: source statistics by layer.
        mode: ``auto`` adapts while the stream is away from the source, ``always`` adapts on every batch
            and never resets (published protocols), ``off`` never adapts. ``auto`` without calibrated
            thresholds cannot tell drift from noise and adapts always; ``reason`` says so.
        batch: frames a batch.
    """

    def __init__(
        self,
        manifest: Manifest,
        calibration: Mapping[str, Array],
        mode: Mode = "auto",
        batch: int = 16,
    ) -> None:
        if mode not in ("auto", "always", "off"):
            raise TtaError(f"the governor's mode is auto, always or off, but is {mode!r}")
        self.mode = mode
        self._manifest, self._source, self._batch = manifest, calibration, batch
        self._signature: dict[str, Array] = {}
        self._spread = math.nan
        self._checks = {n: registry.load("tta.checks", n)() for n in registry.names("tta.checks")}

    def plan(self, view: Step, n: int | None = None) -> Plan:
        """What to do with a batch whose frozen view is this; n frames, by default as many as a batch has."""
        if self.mode == "off":
            return Plan("hold", "adaptation is off", {})
        if self.mode == "always":
            return Plan("adapt", "adapting on every batch", {})
        source = _mean(distance(view.moments, self._source))
        noise = threshold(self._manifest, "statistics_kl", n or self._batch)
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

    def returned(self, view: Step, n: int) -> Plan | None:
        """A plan to hold where a view of n frames is as the source, else None."""
        source = _mean(distance(view.moments, self._source))
        noise = threshold(self._manifest, "statistics_kl", n)
        if noise is None or not source <= noise:
            return None
        self._signature, self._spread = {}, math.nan
        figures = {"from_source": source, "threshold": noise}
        return Plan("hold", "the stream is back at the source", figures)

    def veto(self, after: Step, view: Step) -> tuple[str, dict[str, float]]:
        """Why a proposal must not be committed (empty if it may), with the checks' figures.

        A check that raises vetoes: it never lets through.

        Args:
            after: the batch under the proposed slots, as it would be served.
            view: the batch under the source slots.
        """
        figures: dict[str, float] = {}
        if self.mode == "always":
            return "", figures
        for name, check in self._checks.items():
            try:
                figures[name] = check.figure(after, view, self._manifest.primary)
                reason: str = check.veto(figures[name])
            except Exception as error:
                reason = f"check {name} failed: {error}"
            if reason:
                return reason, figures
        return "", figures

    def _learn(self, moments: Mapping[str, Moments]) -> None:
        for layer, batch in moments.items():
            old = (
                self._signature.get(f"mean.{layer}", batch.mean),
                self._signature.get(f"var.{layer}", batch.var),
            )
            new = blend(old, (batch.mean, batch.var), MEMORY)
            self._signature[f"mean.{layer}"], self._signature[f"var.{layer}"] = new


def _mean(values: Mapping[str, float]) -> float:
    return float(np.mean(list(values.values()))) if values else math.nan
