"""The watch over one stream: from calibrated scores to detections, and what is made of them.

::

    scores ─> gauges ─> detectors ──crossing──> settle ─> known domain?   recall
      (standardised on the source)                        harmless news?  learn
                                                          else            alarm
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from tta.autocorrelation import effective_size, estimate, from_time, inflation
from tta.bayesian_bootstrap import interval, resampled
from tta.budget import Budget
from tta.domains import NEAR, RELATIVE, Bank, Domain
from tta.drift._reference import reference
from tta.gauge import BLOCK, Gauge
from tta.kinds import Kinds, with_layers
from tta.records import Array, Shift, View

SKIP = 3  # blocks after a detection in which moving averages still settle
SETTLE = 6  # blocks that make a signature, more of a correlated stream
MOST_SETTLE = 24
MOST_EXTENDED = 4  # times that a window is given up because the stream still moves
HARM = 0.02  # rise of the estimated error from which a new domain is an alarm
SURE = 0.8  # posterior share beyond it
CERTAIN = 0.99  # share from which a known domain is another
FAR = 20.0  # deviations beyond which a domain is an alarm whatever its estimated error
JUMP = 8.0  # deviations that are another shift, where one settles that is hardly any
PATIENCE = 8  # new domains in a row after which a stream counts as staying away from all
WARM_UP = 1024  # frames, more of a correlated stream:
WORTH = 64  # independent frames that a warm-up should be worth
LONGEST = 8  # times as many frames at most
UNLIKE = 3.0  # deviations from the source at which a warm-up is no warm-up


@dataclass(frozen=True, slots=True)
class AlarmPolicy:
    """How a stream is watched.

    Attributes:
        budget: tolerable false alarms; None for the bundle's own.
        fps: frames a second, for a budget or a correlation in time.
        detector: name in ``tta/detectors/`` or ``my.mod:Class``.
        correlation_s: assumed correlation time; None for the bundle's own.
        warm_up: viewed frames from which correlation and site are estimated, up to eight times as many of a
            correlated stream; 0 for none.
    """

    budget: Budget | None = None
    fps: float | None = None
    detector: str = "cusum"
    correlation_s: float | None = None
    warm_up: int = WARM_UP


@dataclass
class Watch:
    """Detects shifts of one stream within a false-alarm budget.

    Args:
        calibration: what export left of the source; without ``drift.rho`` nothing is watched.
        names: scores to watch, those that were calibrated.
        policy: budget, detector and warm-up.
    """

    calibration: Mapping[str, Array]
    names: Sequence[str]
    policy: AlarmPolicy = field(default_factory=AlarmPolicy)
    rho: float | None = 0.0
    notes: list[str] = field(default_factory=list)  # what a user should be told, oldest first

    def __post_init__(self) -> None:
        known = [n for n in self.names if f"drift.gauge.{n}" in self.calibration]
        self.gauges = {n: Gauge(n, self.calibration, self.policy.detector) for n in known}
        self.bank = Bank()
        self._errors = reference(self.calibration, "estimated_error")
        if self._errors:
            self.bank.source.error = float(self._errors["error"][0])
        self.domain: Domain = self.bank.source
        self.frames = 0
        self._project = reference(self.calibration, "mahalanobis").get("basis")
        self._settling = 0  # blocks still to come
        self._length = self._extended = 0
        self._wrong: list[float] = []
        self._detected: Shift | None = None
        self._unknown = 0
        self._series: list[Array] = []
        self._layers: Mapping[str, float] = {}
        self._kinds = Kinds(self.calibration)
        self._warming = self.policy.warm_up if self.gauges else 0
        if self.gauges:
            self._assume()

    def _assume(self) -> None:
        """Thresholds for the correlation that was measured on clips, told, or assumed at export."""
        policy, ordered = self.policy, "drift.ordered" in self.calibration
        fps = policy.fps or float(self.calibration["drift.fps"][0])
        self.rate = self._budgeted()
        if policy.correlation_s is not None:
            self.rho = from_time(policy.correlation_s, fps)
        elif ordered:
            self.rho = None
        else:
            self.rho = from_time(float(self.calibration["drift.correlation_s"][0]), fps)
        self._assumed = self.rho
        if self._warming:  # until it has been measured, only what no correlation explains
            self.rho = float(max(self.calibration["drift.rho"]))
        self._set()

    def tolerate(self, budget: Budget | None) -> None:
        """Go on with another budget of false alarms, None for the bundle's; what was measured stays."""
        self.policy = replace(self.policy, budget=budget)
        if self.gauges:
            self.rate = self._budgeted()
            self._set()

    def _budgeted(self) -> float:
        """Tolerable false alarms a frame."""
        if self.policy.budget:
            return self.policy.budget.per_frame(self.policy.fps)
        return float(self.calibration["drift.budget"][0])

    def _set(self) -> None:
        name = f"drift.dependence.{self.policy.detector}"
        share = float(self.calibration[name][0]) if name in self.calibration else 1.0
        each = self.rate / (len(self.gauges) * share)
        for gauge in self.gauges.values():
            gauge.set(each * gauge.frames, self.rho)
        uncalibrated = [g.name for g in self.gauges.values() if not g.calibrated]
        if uncalibrated:
            self._note(
                f"detector {self.policy.detector!r} is not calibrated in this bundle, so the "
                "false-alarm budget does not hold for it"
            )
        frames = float(self.calibration["drift.frames"][0])
        if self.policy.budget and frames * self.rate < 1:
            self._note(
                f"{frames:.0f} calibration frames are fewer than one alarm in {1 / self.rate:,.0f} "
                "frames needs, so thresholds are extrapolated and wider"
            )

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def tick(self, view: View, layers: Mapping[str, float]) -> Shift | None:
        """After the scores of a block of frames: what is to be said of it, if anything.

        Args:
            view: the frames.
            layers: scores by layer now.
        """
        self.frames += len(view)
        if not self.gauges:
            return None
        self._layers = layers
        if self._settling:
            self._settling -= 1
            if self._settling >= self._length:
                self._collect()
            else:
                self._wrong.append(self._share_wrong(view))
                if jumped := [g for g in self.gauges.values() if g.jumped(JUMP)]:
                    return self._detect(jumped)
            return None if self._settling else self._settled()
        crossed = [g for g in self.gauges.values() if g.crossed]
        if crossed:
            return self._detect(crossed)
        if self._warming:
            self._warm(view)
        return None

    def _detect(self, crossed: Sequence[Gauge]) -> Shift:
        if self._warming:
            self._note("the stream left its source during the warm-up, so export's thresholds stay")
            self._warming, self._series = 0, []
            self.rho = self._assumed
            self._set()
        near = {g.name: g.share for g in self.gauges.values() if g.share > 0.5 or g.crossed}
        first = max(crossed, key=lambda g: g.share if g.share == g.share else 0.0)
        rarity = first.rarity * first.frames
        self._length = self._settle_blocks()
        self._settling = SKIP + self._length
        onset = max(0, self.frames - first.since() * first.frames)
        self._wrong, self._extended = [], 0
        self._collect()
        self._detected = Shift(
            "detected", self.frames, onset, near, dict(self._layers), rarity, domain=-1
        )
        return self._detected

    def resettle(self) -> None:
        """Judge a shift by what comes from here on: the governor has seen the stream return to the source."""
        if self._settling:
            self._settling = SKIP + self._length
            self._wrong, self._extended = [], 0
            self._collect()

    @property
    def settling(self) -> bool:
        """Whether a shift was detected that has no verdict yet."""
        return self._settling > 0

    def _settle_blocks(self) -> int:
        return min(
            MOST_SETTLE, math.ceil(SETTLE * math.sqrt(inflation(self.correlation, SETTLE * BLOCK)))
        )

    @property
    def correlation(self) -> float:
        """Correlation of neighbouring frames that thresholds hold for."""
        return float(self.calibration["drift.rho"][-1]) if self.rho is None else self.rho

    def _collect(self) -> dict[str, list[float]]:
        return {n: g.collect() for n, g in self.gauges.items()}

    def _error_of(self, updates: int, frames: int) -> float:
        """Standard error of a mean of standardised values."""
        many = inflation(self.correlation, updates * frames) / (
            updates * inflation(self.correlation, frames)
        )
        return 1.25 * math.sqrt(min(1.0, many))  # moving averages add to the correlation

    def _share_wrong(self, view: View) -> float:
        if not self._errors or not view.confidence.size:
            return math.nan
        return float((view.confidence < self._errors["threshold"][0]).mean())

    def _settled(self) -> Shift | None:
        """The verdict, once the stream stays where it went; a window in which it moved is not judged."""
        values = {n: v for n, v in self._collect().items() if v}
        if self._extended < MOST_EXTENDED and self._moving(values):
            self._extended += 1
            self._settling, self._wrong = self._length, []
            return None
        return self._verdict(values)

    def _moving(self, values: Mapping[str, Sequence[float]]) -> bool:
        """Whether the halves of a window differ by more than chance."""
        for name, each in values.items():
            half = len(each) // 2
            if half:
                before, after = float(np.mean(each[:half])), float(np.mean(each[half:]))
                allowed = 1.5 * NEAR * self._error_of(half, self.gauges[name].frames)
                allowed += RELATIVE * max(abs(before), abs(after))
                if abs(after - before) > allowed:
                    return True
        return False

    def _verdict(self, values: Mapping[str, Sequence[float]]) -> Shift:
        signature = {n: float(np.mean(v)) for n, v in values.items()}
        errors = {n: self._error_of(len(v), self.gauges[n].frames) for n, v in values.items()}
        detected = self._detected
        assert detected is not None
        estimate_ = self._estimated()
        known = self.bank.recall(signature, errors)
        if known is not None and self._worse(known.error, CERTAIN):
            known = None  # it looks like a known domain, but does more harm
        verdict: Literal["recall", "learn", "alarm"] = "recall"
        if known is not None:
            self._unknown = 0
            domain = known
        else:
            self._unknown += 1
            far = max(abs(v) for v in signature.values()) > FAR
            source = self.bank.source.error
            harm = self._worse(source, SURE)
            harmful = far or harm is not False or self._unknown >= PATIENCE
            spread = {n: max(1.0, 1.5 * float(np.std(v))) for n, v in values.items()}
            error = math.nan if estimate_ is None else estimate_[1]
            domain = self.bank.learn(signature, spread, harmful, error)
            # a stream that was in harm already has been reported, unless it gets worse
            again = self.domain.harmful and not self._worse(self.domain.error, SURE)
            verdict = "alarm" if harmful and not again else "learn"
        self._enter(domain)
        kind, sure = (
            self._kinds.name(with_layers(signature, self._layers))
            if verdict != "recall"
            else ("unknown", math.nan)
        )
        return replace(
            detected,
            verdict=verdict,
            frame=self.frames,
            domain=domain.number,
            error=estimate_,
            kind=kind,
            kind_share=sure,
            layers=dict(self._layers),
            signature=signature,
            intervals={n: interval(np.array(v)) for n, v in values.items()},
        )

    def _estimated(self) -> tuple[float, float, float] | None:
        """Estimated error since the shift settled: low, mean, high; None if there is no estimate."""
        wrong = np.array([w for w in self._wrong if w == w])
        if not len(wrong):
            return None
        low, high = interval(wrong)
        return low, float(wrong.mean()), high

    def _worse(self, error: float, sure: float) -> bool | None:
        """Whether the estimated error since the shift settled is above another; None without an estimate."""
        wrong = np.array([w for w in self._wrong if w == w])
        if not len(wrong) or error != error:
            return None
        return float((resampled(wrong) > error + HARM).mean()) >= sure

    def _enter(self, domain: Domain) -> None:
        self.domain = domain
        for name, gauge in self.gauges.items():
            place, spread = domain.signature.get(name, 0.0), domain.spread.get(name, 1.0)
            gauge.restart(place, spread, domain.number == 0)

    def _warm(self, view: View) -> None:
        """Estimate the correlation and the site's place, and take them over if they are as the source."""
        parts = [view.entropy[:, None], view.confidence[:, None]]
        if self._project is not None:
            parts.append(view.features @ self._project[:2].T)
        self._series.append(np.concatenate(parts, 1))
        if self.frames < self._warming:
            return
        series = np.concatenate(self._series)
        series = series[:, np.isfinite(series).all(0)]
        found = estimate(series) if series.size else self.correlation
        longest = LONGEST * self.policy.warm_up
        if effective_size(len(series), found) < WORTH and self.frames < longest:
            self._warming = min(2 * self._warming, longest)
            return
        self._series, self._warming = [], 0
        ordered = self._assumed is None and found <= float(self.calibration["drift.rho"][-1])
        self.rho = None if ordered else found
        self._set()
        values = {n: v for n, v in self._collect().items() if v}
        moved = {n: float(np.mean(v)) for n, v in values.items()}
        unlike = {n: z for n, z in moved.items() if abs(z) > UNLIKE}
        if unlike:
            self.rho = self._assumed
            self._set()
            worst = max(unlike, key=lambda n: abs(unlike[n]))
            self._note(f"the warm-up was unlike the source ({worst}), so export's thresholds stay")
            return
        for name, z in moved.items():
            room = 2 * self._error_of(len(values[name]), self.gauges[name].frames)
            self.bank.source.signature[name] = math.copysign(max(0.0, abs(z) - room), z)
        self._enter(self.bank.source)
        self._note(
            f"warm-up of {len(series)} frames: neighbours correlate with {found:.3f}, so they are "
            f"worth {effective_size(len(series), found):.0f} independent ones"
        )

    def reset(self) -> None:
        """Forget the stream, its domains and the warm-up."""
        self.__post_init__()
