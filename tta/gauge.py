"""One drift score on the scale of its source, with the detector that watches it."""

from __future__ import annotations

import inspect
import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from tta import registry
from tta.errors import NotFoundError
from tta.records import Array
from tta.tails import Tail

BLOCK = 64  # viewed frames between two values of a score: what a small model's 3 % allows
SLACK = 0.5  # of cumulative sums: also covers what finitely many calibration frames leave open
SETTLED = 4  # values of a score at a stream's begin that its moving average needs
REMEMBERED = 512  # values: more than the longest warm-up has
LARGEST = 50.0  # standard deviations beyond which a score is no better known
OPTIONS: Mapping[str, Mapping[str, Any]] = {"cusum": {"slack": SLACK}}


class Gauge:
    """Standardises a score and feeds a detector.

    Args:
        name: of the metric, ``metric@16`` if it is of batches of 16.
        calibration: what export kept: ``drift.gauge.<name>`` ``(R, 2)`` and, for a calibrated detector,
            ``drift.tail.<detector>.<name>`` ``(R, 3)``, at the R correlations ``drift.rho``.
        detector: name in ``tta/detectors/``, or ``my.mod:Class`` of an update/drift_detected class.
    """

    def __init__(self, name: str, calibration: Mapping[str, Array], detector: str) -> None:
        self.name = name
        self._detector = detector
        size = name.partition("@")[2]
        self.frames = int(size) if size else BLOCK
        self._rho = np.asarray(calibration["drift.rho"], np.float64)
        self._gauge = np.asarray(calibration[f"drift.gauge.{name}"], np.float64)
        tail = calibration.get(f"drift.tail.{detector}.{name}")
        self._tail = None if tail is None else np.asarray(tail, np.float64)
        self._made: Any = make_detector(detector)
        metric = registry.load("tta.drift", name.partition("@")[0])
        self._distance = bool(getattr(metric, "distance", False))
        self._rising = self._distance  # whether only a rise counts
        self._waits = SETTLED  # values that moving averages need, at a stream's begin
        self.offset, self.spread = 0.0, 1.0  # where the domain at hand lies, in source deviations
        self.values: deque[float] = deque(maxlen=REMEMBERED)  # scores since the last ``collect``
        self.crossed = False
        self._location, self._scale = 0.0, 1.0
        self.threshold = math.inf
        self._at: Tail | None = None

    @property
    def calibrated(self) -> bool:
        """Whether the detector's threshold follows a budget; others keep their own."""
        return self._tail is not None

    def set(self, rate: float, rho: float | None) -> None:
        """Set scale and threshold for a rate of false alarms an update.

        Args:
            rate: tolerable false alarms an update.
            rho: correlation of neighbouring frames; None for that of ordered calibration clips.
        """
        location, scale = (at(self._rho, self._gauge[:, k], rho) for k in (0, 1))
        tail = None
        threshold = math.inf
        if self._tail is not None:
            rows = [Tail(*row) for row in self._tail]
            tail = Tail(*(at(self._rho, self._tail[:, k], rho) for k in range(3)))
            threshold = at(self._rho, np.array([row.threshold(rate) for row in rows]), rho)
            self._made.threshold = max(threshold, 1e-6)
        self._location, self._scale = location, max(scale, 1e-9)
        self.threshold, self._at = threshold, tail

    def standardised(self, score: float) -> float:
        """The score in standard deviations from its source mean, within ±50."""
        z = (score - self._location) / self._scale
        return -LARGEST if z < -LARGEST else LARGEST if z > LARGEST else z

    def feed(self, score: float) -> None:
        """Take in a value of the score; nan is no value."""
        if score != score:
            return
        if self._waits:
            self._waits -= 1
            return
        self.values.append(score)
        away = (self.standardised(score) - self.offset) / self.spread
        made = self._made
        made.update(-SLACK if self._rising and away < -SLACK else away)
        if made.drift_detected:
            self.crossed = True

    @property
    def share(self) -> float:
        """Statistic over threshold; nan for a detector that has none."""
        statistic = getattr(self._made, "statistic", math.nan)
        return float(statistic) / float(getattr(self._made, "threshold", math.nan))

    @property
    def rarity(self) -> float:
        """Source updates between two values as high as this one, at least; nan if not calibrated."""
        tail = self._at
        if tail is None:
            return math.nan
        return 1 / max(tail.exceeded(float(self._made.statistic)), 1e-300)

    def collect(self) -> list[float]:
        """Standardised values since the last call, on the scale in force now."""
        found = [self.standardised(v) for v in self.values]
        self.values.clear()
        return found

    def jumped(self, far: float) -> bool:
        """Whether the newest value is that far from its domain, and none since ``collect`` half so."""
        away = [abs(self.standardised(v) - self.offset) / self.spread for v in self.values]
        return len(away) > 1 and away[-1] > far and max(away[:-1]) < far / 2

    def since(self) -> int:
        """Values ago at which the score most likely left its place.

        The k that maximises |Σ_{i>k} (x_i ∓ slack)|: where the cumulative sum began to rise (Page 1954).
        """
        x = np.array([(self.standardised(v) - self.offset) / self.spread for v in self.values])
        if not len(x):
            return 0
        up, down = np.cumsum((x - SLACK)[::-1]), np.cumsum((-x - SLACK)[::-1])
        return int(np.argmax(up if up.max() > down.max() else down)) + 1

    def restart(self, offset: float, spread: float, source: bool) -> None:
        """Watch for departures from a domain that lies there; a distance may fall again if not the source."""
        self._rising = self._distance and source
        self.offset, self.spread, self.crossed = offset, spread, False
        if hasattr(self._made, "reset"):
            self._made.reset()
        else:  # a detector of another library: a new one, as they begin
            self._made = make_detector(self._detector)


def make_detector(name: str) -> Any:
    """A detector by name, with the options that scores here call for.

    Raises:
        NotFoundError: no detector of that name, or the class is none.
    """
    made = registry.load("tta.detectors", name)(**OPTIONS.get(name, {}))
    if not hasattr(made, "update") or not hasattr(made, "drift_detected"):
        raise NotFoundError(
            f"{name!r} is no detector: it needs update(x) and drift_detected, as in the library river"
        )
    return made


def calibratable(name: str) -> bool:
    """Whether a detector has the statistic and threshold that calibration needs."""
    made = registry.load("tta.detectors", name)
    return hasattr(made, "statistic") and "threshold" in inspect.signature(made).parameters


def at(rho_grid: Array, values: Array, rho: float | None) -> float:
    """Value at a correlation, interpolated over log((1+ρ)/(1-ρ)); the last row for None.

    >>> at(np.array([0.0, 0.9]), np.array([1.0, 2.0]), 0.0)
    1.0
    """
    if rho is None:
        return float(values[-1])
    known = np.log((1 + rho_grid) / (1 - rho_grid))
    order = np.argsort(known)
    return float(np.interp(np.log((1 + rho) / (1 - rho)), known[order], values[order]))
