"""The monitor: all drift metrics of one stream, the watch over them, and the level they amount to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tta import registry, tasks
from tta.gauge import BLOCK
from tta.manifest import Manifest
from tta.protocols import DriftMetric
from tta.records import Array, Decision, DriftReport, Level, Prediction, Shift, Step, View
from tta.watch import AlarmPolicy, Watch

WARN = 0.75  # share of a threshold from which a score is worth a look
EMPTY, NOTHING = np.zeros(0, np.float32), np.zeros((0, 0), np.float32)
INPUT_EVERY = 16  # viewed frames of which one's input is kept for the block


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


@dataclass
class Rows:
    """The frames of a block that wait, row by row."""

    features: Array
    probabilities: Array
    entropy: list[float]
    sure: list[float]

    @classmethod
    def of(cls, block: int, features: Array, probabilities: Array) -> Rows:
        """Room for a block of frames like this."""
        return cls(
            np.zeros((block, *features.shape), features.dtype),
            np.zeros((block, *probabilities.shape), probabilities.dtype),
            [],
            [],
        )


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
        self._values = "values" in tasks.load(manifest.task).gives
        self._metrics: dict[str, DriftMetric] = {
            name: registry.load("tta.drift", name)(manifest, calibration) for name in names
        }
        found = {name: threshold(manifest, name, batch) for name in names}
        self.thresholds = {name: value for name, value in found.items() if value is not None}
        self._batched = {name: f"{name}@{batch}" for name in names}
        self.watch = Watch(calibration, [*names, *self._batched.values()], policy or AlarmPolicy())
        self._scores = dict.fromkeys(names, math.nan)
        self._layers: dict[str, float] = {}
        gauges = self.watch.gauges  # a metric that was calibrated on frames is one of frames
        self._of_steps = {n: m for n, m in self._metrics.items() if n not in gauges}
        self._rows: Rows | None = None
        self._waiting = 0
        self._inputs: list[Array] = []
        self._outputs: list[Array] = []
        self._shift: Shift | None = None
        self._last: DriftReport | None = None  # as long as nothing has changed

    def observe(self, prediction: Prediction, x: Array | None = None) -> None:
        """Take in the frozen model's answer to one frame.

        Args:
            prediction: the answer.
            x: the model's input, without the batch axis.
        """
        n, rows = self._waiting, self._rows
        features, probabilities = (
            prediction.outputs.get("features", EMPTY),
            prediction.probabilities,
        )
        if rows is None:
            rows = self._rows = Rows.of(self._block, features, probabilities)
        # copied now, while the answer is in the cache: later, it costs more
        rows.features[n] = features
        rows.probabilities[n] = probabilities
        rows.entropy.append(prediction.entropy)
        if not probabilities.size:
            rows.sure.append(prediction.sure)
            if self._values and prediction.outputs:
                self._outputs.append(prediction.outputs[self._manifest.primary])
        if x is not None and n % INPUT_EVERY == 0:
            self._inputs.append(x)
        self._waiting = n + 1
        if self._waiting >= self._block:
            self.flush()

    def flush(self) -> None:
        """Score the frames that wait."""
        rows, n = self._rows, self._waiting
        if rows is None or not n:
            return
        gauges = self.watch.gauges
        probabilities = rows.probabilities[:n]
        view = View(
            features=rows.features[:n].reshape(n, -1),
            probabilities=probabilities,
            output=np.array(self._outputs) if self._outputs else NOTHING,
            entropy=np.array(rows.entropy),
            confidence=np.maximum.reduce(probabilities, 1)
            if probabilities.size
            else np.array(rows.sure),
            inputs=np.array(self._inputs) if self._inputs else NOTHING,
        )
        self._forget_frames()
        for name, metric in self._metrics.items():
            metric.observe(view)
            self._scores[name] = score = metric.score()
            if (gauge := gauges.get(name)) is not None:
                gauge.feed(score)
        shift = self.watch.tick(view, self._layers)
        self._shift = shift or self._shift
        self._last = None

    def _forget_frames(self) -> None:
        self._waiting = 0
        if self._rows is not None:
            self._rows.entropy.clear()
            self._rows.sure.clear()
        self._inputs, self._outputs = [], []

    def observe_step(self, step: Step) -> None:
        """Take in the frozen view's statistics of one batch."""
        gauges = self.watch.gauges
        for name, metric in self._of_steps.items():
            metric.observe_step(step)
            self._scores[name] = score = metric.score()
            if (gauge := gauges.get(self._batched[name])) is not None:
                gauge.feed(score)
            self._layers.update(metric.layers())
        self._last = None

    def observe_state(self, slots: Mapping[str, Array], source: Mapping[str, Array]) -> None:
        """Take in the slots of the state in force, and those of the source."""
        for name, metric in self._metrics.items():
            look = getattr(metric, "observe_state", None)
            if look is not None:
                look(slots, source)
                self._scores[name] = metric.score()
        self._last = None

    @property
    def scores(self) -> Mapping[str, float]:
        """Latest value of each metric; nan before there is one."""
        return self._scores

    def report(self, decision: Decision | None = None) -> DriftReport:
        """Scores and level now; a shift is reported once."""
        last = self._last
        if last is not None and decision is None:
            return last
        scores = self._scores.copy()
        shift, self._shift = self._shift, None
        made = DriftReport(scores, self._level(scores), self._layers.copy(), decision, shift)
        if decision is None and shift is None:
            self._last = made
        return made

    def _level(self, scores: Mapping[str, float]) -> Level:
        worst = max(
            (share for n, t in self.thresholds.items() if (share := scores[n] / t) == share),
            default=0.0,
        )
        watch = self.watch
        away = (
            watch.domain if not watch.settling else watch.bank.source
        )  # it left, none knows where to
        if worst > 1 or away.harmful:
            return "drift"
        return "warn" if worst > WARN or away.number else "ok"

    def reset(self) -> None:
        """Forget the stream."""
        for metric in self._metrics.values():
            metric.reset()
        self.watch.reset()
        self._scores, self._layers = dict.fromkeys(self._metrics, math.nan), {}
        self._forget_frames()
        self._shift, self._last = None, None
