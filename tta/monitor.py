"""The monitor: all drift metrics of one stream, the watch over them, and the level they amount to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tta import registry
from tta.gauge import BLOCK
from tta.manifest import Manifest
from tta.protocols import DriftMetric
from tta.records import Array, Decision, DriftReport, Level, Prediction, Shift, Step, View
from tta.watch import AlarmPolicy, Watch

WARN = 0.75  # share of a threshold from which a score is worth a look
INPUT_EVERY = 8  # viewed frames of which one's input is kept for the block


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

    Frames wait in a list, and the arithmetic is done once for each block of them.

    Args:
        manifest: the bundle's contract; its thresholds set the level.
        calibration: source statistics.
        metrics: names of the metrics; default all in ``tta/drift/``.
        batch: frames behind each batch statistic.
        policy: how shifts are detected.
        block: viewed frames a block.
    """

    def __init__(
        self,
        manifest: Manifest,
        calibration: Mapping[str, Array],
        metrics: Sequence[str] | None = None,
        batch: int = 16,
        policy: AlarmPolicy | None = None,
        block: int = BLOCK,
    ) -> None:
        names = registry.names("tta.drift") if metrics is None else metrics
        self._manifest, self._block = manifest, block
        self._metrics: dict[str, DriftMetric] = {
            name: registry.load("tta.drift", name)(manifest, calibration) for name in names
        }
        found = {name: threshold(manifest, name, batch) for name in names}
        self._thresholds = {name: value for name, value in found.items() if value is not None}
        self._batched = {name: f"{name}@{batch}" for name in names}
        self.watch = Watch(
            calibration, [*names, *self._batched.values()], policy or AlarmPolicy()
        )
        self._frames: list[Prediction] = []
        self._inputs: list[Array] = []
        self._shift: Shift | None = None
        self._last: DriftReport | None = None  # as long as nothing has changed

    def observe(self, prediction: Prediction, x: Array | None = None) -> None:
        """Take in the frozen model's answer to one frame.

        Args:
            prediction: the answer.
            x: the model's input, without the batch axis.
        """
        frames = self._frames
        if x is not None and len(frames) % INPUT_EVERY == 0:
            self._inputs.append(x)
        frames.append(prediction)
        if len(frames) >= self._block:
            self.flush()

    def flush(self) -> None:
        """Score the frames that wait."""
        if not self._frames:
            return
        view = view_of(self._frames, self._inputs, self._manifest.primary)
        self._frames, self._inputs = [], []
        for name, metric in self._metrics.items():
            metric.observe(view)
            self.watch.feed(name, metric.score())
        shift = self.watch.tick(view, self._layers())
        self._shift = shift or self._shift
        self._last = None

    def observe_step(self, step: Step) -> None:
        """Take in the frozen view's statistics of one batch."""
        for name, metric in self._metrics.items():
            metric.observe_step(step)
            if self._batched[name] in self.watch.gauges:
                self.watch.feed(self._batched[name], metric.score())
        self._last = None

    def observe_state(self, slots: Mapping[str, Array], source: Mapping[str, Array]) -> None:
        """Take in the slots of the state in force, and those of the source."""
        for metric in self._metrics.values():
            look = getattr(metric, "observe_state", None)
            if look is not None:
                look(slots, source)
        self._last = None

    def report(self, decision: Decision | None = None) -> DriftReport:
        """Scores and level now; a shift is reported once."""
        last = self._last
        if last is not None and decision is None:
            return last
        scores = {name: metric.score() for name, metric in self._metrics.items()}
        shift, self._shift = self._shift, None
        made = DriftReport(scores, self._level(scores), self._layers(), decision, shift)
        if decision is None and shift is None:
            self._last = made
        return made

    def _layers(self) -> dict[str, float]:
        layers: dict[str, float] = {}
        for metric in self._metrics.values():
            layers.update(metric.layers())
        return layers

    def _level(self, scores: Mapping[str, float]) -> Level:
        worst = max(
            (scores[n] / t for n, t in self._thresholds.items() if math.isfinite(scores[n])),
            default=0.0,
        )
        domain = self.watch.domain
        if worst > 1 or domain.harmful:
            return "drift"
        return "warn" if worst > WARN or domain.number else "ok"

    def reset(self) -> None:
        """Forget the stream."""
        for metric in self._metrics.values():
            metric.reset()
        self.watch.reset()
        self._frames, self._inputs, self._shift, self._last = [], [], None, None


def view_of(frames: Sequence[Prediction], inputs: Sequence[Array], primary: str) -> View:
    """The view of some frames from the frozen model's answers; their shapes agree."""
    n = len(frames)
    probabilities = np.array([p.probabilities for p in frames])
    classes = probabilities.shape[1]
    features = [p.outputs["features"] for p in frames if "features" in p.outputs]
    output = np.zeros((n, 0)) if classes else np.array([p.outputs[primary] for p in frames])
    return View(
        features=np.array(features).reshape(n, -1),
        probabilities=probabilities,
        output=output,
        entropy=np.array([p.entropy for p in frames]),
        confidence=probabilities.max(1) if classes else np.full(n, np.nan),
        inputs=np.array(inputs) if inputs else np.zeros((0,)),
    )
