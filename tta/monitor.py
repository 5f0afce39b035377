"""The monitor: all drift metrics of one stream, and the level they amount to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tta import registry
from tta.manifest import Manifest
from tta.protocols import DriftMetric
from tta.records import Array, Decision, DriftReport, Level, Prediction, Step

WARN = 0.75  # share of a threshold from which a score is worth a look


def threshold(manifest: Manifest, metric: str, n: int = 1) -> float | None:
    """Calibrated threshold of a metric for batches of n frames, None where there is none.

    A threshold named ``metric@16`` is for batches of 16. Noise in batch statistics falls like 1/n, so for
    fewer frames than the smallest calibrated batch it is scaled up; for more, the largest one not above n
    holds.
    """
    plain = manifest.thresholds.get(metric)
    if plain is not None:
        return plain
    sizes = sorted(
        int(name.partition("@")[2]) for name in manifest.thresholds if name.startswith(f"{metric}@")
    )
    if not sizes:
        return None
    size = max((s for s in sizes if s <= n), default=sizes[0])
    return manifest.thresholds[f"{metric}@{size}"] * max(1.0, size / n)


class Monitor:
    """Scores one stream.

    Args:
        manifest: the bundle's contract; its thresholds set the level.
        calibration: source statistics.
        metrics: names of the metrics; default all in ``tta/drift/``.
        batch: frames behind each batch statistic.
    """

    def __init__(
        self,
        manifest: Manifest,
        calibration: Mapping[str, Array],
        metrics: Sequence[str] | None = None,
        batch: int = 16,
    ) -> None:
        names = registry.names("tta.drift") if metrics is None else metrics
        self._metrics: dict[str, DriftMetric] = {
            name: registry.load("tta.drift", name)(manifest, calibration) for name in names
        }
        found = {name: threshold(manifest, name, batch) for name in names}
        self._thresholds = {name: value for name, value in found.items() if value is not None}

    def observe(self, prediction: Prediction) -> None:
        """Take in one prediction."""
        for metric in self._metrics.values():
            metric.observe(prediction)

    def observe_step(self, step: Step) -> None:
        """Take in the frozen view's statistics of one batch."""
        for metric in self._metrics.values():
            metric.observe_step(step)

    def report(self, decision: Decision | None = None) -> DriftReport:
        """Scores and level now."""
        scores = {name: metric.score() for name, metric in self._metrics.items()}
        layers: dict[str, float] = {}
        for metric in self._metrics.values():
            layers.update(metric.layers())
        return DriftReport(scores, self._level(scores), layers, decision)

    def _level(self, scores: Mapping[str, float]) -> Level:
        worst = max(
            (scores[n] / t for n, t in self._thresholds.items() if math.isfinite(scores[n])),
            default=0.0,
        )
        return "drift" if worst > 1 else "warn" if worst > WARN else "ok"

    def reset(self) -> None:
        """Forget the stream."""
        for metric in self._metrics.values():
            metric.reset()
