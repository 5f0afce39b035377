"""Calibrates drift detection at export: what metrics must know of the source, and how far its scores stray.

Source frames are replayed as streams whose neighbours correlate with ρ, for a grid of ρ, through the very
metrics and detectors that a device runs; the tails of the detectors' statistics are kept, so that a
device can set thresholds for any budget, frame rate and correlation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tta import registry, tasks
from tta.autocorrelation import estimate
from tta.budget import Budget
from tta.bundle import Bundle
from tta.errors import ExportError
from tta.gauge import BLOCK, LARGEST, SETTLED, SLACK, calibratable, make_detector
from tta.manifest import Manifest
from tta.monitor import INPUT_EVERY
from tta.records import Array, Moments, Step, View
from tta.runtime.session import AdaptSession
from tta.runtime.stream import prediction
from tta.tails import dependence, fit, window_maxima

GRID = (0.0, 0.7, 0.9, 0.97, 0.99, 0.997)  # correlations of neighbouring frames
LEAST = 256  # frames below which nothing can be said of tails
MOST_BLOCKS = 12288  # simulated a correlation
STREAMS = 16  # of them, each on a resample of the frames: the source itself is known inexactly
BATCHES = (8, 16, 32, 64)
MOST_NUMBERS = 50_000_000  # of per-frame layer statistics kept in memory
PIECE = 256  # frames of an ordered clip that stay together
SHARED = 0.3  # least dependence taken for granted


@dataclass(frozen=True, slots=True)
class DriftOptions:
    """How drift detection is calibrated.

    Attributes:
        false_alarms: default budget of the bundle, as ``tta.budget.Budget`` reads it.
        fps: default frame rate.
        clips: lengths of the ordered clips that the samples are, one after the other; empty where their order
            means nothing.
        correlation_s: correlation time that is assumed of streams where there are no clips.
        detectors: detectors to calibrate.
        kinds: also learn to name kinds of shifts from simulated faults of images; takes minutes.
    """

    false_alarms: str = "1/day"
    fps: float = 30.0
    clips: tuple[int, ...] = ()
    correlation_s: float = 1.0
    detectors: tuple[str, ...] = ("cusum", "page_hinkley")
    kinds: bool = False


@dataclass(frozen=True, slots=True)
class Frames:
    """What the source model says of each calibration frame: view, and per-frame layer statistics."""

    view: View
    layers: tuple[str, ...]
    sizes: tuple[int, ...]
    counts: tuple[float, ...]
    means: Array  # (n, ΣC)
    squares: Array  # (n, ΣC), mean of squares

    def batch(self, chosen: Array) -> Step:
        """Layer statistics of the batch of those frames, as the batch graph gives them."""
        mean = self.means[chosen].mean(0)
        var = self.squares[chosen].mean(0) - mean * mean
        cuts = np.cumsum(self.sizes)[:-1]
        parts = zip(self.layers, np.split(mean, cuts), np.split(var, cuts), self.counts)
        return Step({}, {k: Moments(m, v, c * len(chosen)) for k, m, v, c in parts})

    def look(self, chosen: Array) -> View:
        """The view of a block of those frames."""
        v = self.view
        return View(
            v.features[chosen],
            v.probabilities[chosen],
            v.output[chosen],
            v.entropy[chosen],
            v.confidence[chosen],
            v.inputs[chosen[::INPUT_EVERY]],
        )


def calibrate_drift(
    bundle: Bundle,
    session: AdaptSession,
    samples: Array,
    source: Mapping[str, Array],
    targets: Array | None = None,
    options: DriftOptions | None = None,
) -> dict[str, Array]:
    """Arrays for ``calibration.safetensors`` that let a device detect drift.

    Args:
        bundle: the bundle under construction.
        session: its graphs.
        samples: preprocessed source samples ``(N, ...)``, disjoint from training.
        source: source statistics by layer, as ``calibrate.statistics`` found them.
        targets: labels ``(N,)`` or regression targets ``(N, p)``, for the estimated error and the head.
        options: budget and correlation.

    Raises:
        ExportError: targets or clips do not fit the samples.
    """
    options = options or DriftOptions()
    rate = Budget.parse(options.false_alarms).per_frame(options.fps)
    if targets is not None and len(targets) != len(samples):
        raise ExportError(f"{len(targets)} targets for {len(samples)} samples")
    if options.clips and sum(options.clips) != len(samples):
        raise ExportError(f"clips of {sum(options.clips)} frames for {len(samples)} samples")
    manifest = bundle.manifest
    frames = look_at(bundle, session, samples)
    found = references(frames.view, targets, manifest.task)
    if len(samples) < LEAST:
        return found
    known = {**source, **found}
    rng = np.random.default_rng(0)
    rho: list[float] = list(GRID)
    if options.clips:
        rho.append(clip_correlation(frames.view, options.clips))
    rows: dict[str, list[Any]] = {}
    shared = dict.fromkeys(options.detectors, SHARED)
    for k, correlation in enumerate(rho):
        clips = options.clips if k == len(GRID) else ()
        for name, scores in replay(frames, manifest, known, correlation, clips, rng).items():
            rows.setdefault(f"scores.{name}", []).append(scores)
    names = [n.removeprefix("scores.") for n in rows]
    for k in range(len(rho)):
        for detector in options.detectors:
            maxima = []
            for name in names:
                scores = rows[f"scores.{name}"][k]
                centre, spread = float(scores.mean()), float(scores.std()) or 1.0
                if detector == options.detectors[0]:
                    rows.setdefault(f"drift.gauge.{name}", []).append((centre, spread))
                metric = registry.load("tta.drift", name.partition("@")[0])
                least = -SLACK if getattr(metric, "distance", False) else -LARGEST
                z = np.clip((scores - centre) / spread, least, LARGEST)
                statistic = trace(detector, z)
                rows.setdefault(f"drift.tail.{detector}.{name}", []).append(fit(statistic.ravel()))
                if "@" not in name:
                    maxima.append(window_maxima(statistic.ravel()))
            if maxima:
                shared[detector] = max(shared[detector], dependence(np.stack(maxima, 1)))
    found |= {k: np.array(v, np.float32) for k, v in rows.items() if k.startswith("drift.")}
    found |= {f"drift.dependence.{d}": np.array([v], np.float32) for d, v in shared.items()}
    found["drift.rho"] = np.array(rho, np.float32)
    found["drift.frames"] = np.array([len(samples)], np.float32)
    found["drift.fps"] = np.array([options.fps], np.float32)
    found["drift.budget"] = np.array([rate], np.float64)
    found["drift.correlation_s"] = np.array([options.correlation_s], np.float32)
    if options.clips:
        found["drift.ordered"] = np.ones(1, np.float32)
    return found


def look_at(bundle: Bundle, session: AdaptSession, samples: Array) -> Frames:
    """Run the source model over the samples one by one, for their statistics belong to one frame each."""
    steps = [
        session.run("batch", x[None], bundle.source_slots, alpha=0.0)
        for x in np.ascontiguousarray(samples)
    ]
    answers = [prediction(bundle, {k: v[0] for k, v in s.outputs.items()}, 0.0) for s in steps]
    probabilities = np.array([p.probabilities for p in answers])
    values = "values" in bundle.task.gives
    primary = bundle.manifest.primary
    n = len(samples)
    view = View(
        features=np.array([p.outputs["features"].ravel() for p in answers]),
        probabilities=probabilities,
        output=np.array([p.outputs[primary] for p in answers]) if values else np.zeros((n, 0)),
        entropy=np.array([p.entropy for p in answers]),
        confidence=np.array([p.confidence for p in answers]),
        inputs=samples,
    )
    first = steps[0].moments
    sizes = tuple(m.mean.size for m in first.values())
    kept = steps[: max(1, min(n, MOST_NUMBERS // max(1, sum(sizes))))]
    means, var = (np.array([_flat(s.moments, part) for s in kept]) for part in (0, 1))
    counts = tuple(m.n for m in first.values())
    return Frames(view, tuple(first), sizes, counts, means, var + means * means)


def _flat(moments: Mapping[str, Moments], part: int) -> Array:
    """Means (0) or variances (1) of all layers, one after the other."""
    return np.concatenate([np.zeros(0), *(m[part] for m in moments.values())])


def references(view: View, targets: Array | None, task: str) -> dict[str, Array]:
    """What metrics and checks must know of the source: ``drift.<metric>.<name>``, ``check.<check>...``."""
    found: dict[str, Array] = {}
    for kind, package in (("drift", "tta.drift"), ("check", "tta.checks")):
        for name in registry.names(package):
            cls = registry.load(package, name)
            if tasks.refusal(f"{kind} {name!r}", cls, task):
                continue
            make = getattr(cls, "reference", None)
            for key, value in (make(view, targets) if make else {}).items():
                found[f"{kind}.{name}.{key}"] = value
    return found


def replay(
    frames: Frames,
    manifest: Manifest,
    known: Mapping[str, Array],
    rho: float,
    clips: Sequence[int],
    rng: np.random.Generator,
) -> dict[str, Array]:
    """Scores ``(streams, blocks)`` of source streams, by metric, ``metric@B`` for those of batches of B."""
    n = len(frames.view)
    blocks = min(MOST_BLOCKS, 8 * n) // STREAMS
    metrics = {
        m: registry.load("tta.drift", m)(manifest, known) for m in registry.names("tta.drift")
    }
    scores: dict[str, Array] = {m: np.full((STREAMS, blocks), np.nan) for m in metrics}
    few = min(blocks, 256)
    for size in BATCHES:
        scores |= {f"{m}@{size}": np.full((STREAMS, few), np.nan) for m in metrics}
    for s in range(STREAMS):
        order = stream(n, (blocks + SETTLED) * BLOCK, rho, clips, rng)
        for metric in metrics.values():
            metric.reset()
        for b in range(blocks + SETTLED):
            view = frames.look(order[b * BLOCK : (b + 1) * BLOCK])
            for name, metric in metrics.items():
                metric.observe(view)
                if b >= SETTLED:
                    scores[name][s, b - SETTLED] = metric.score()
        for size in BATCHES:
            for metric in metrics.values():
                metric.reset()
            for b in range(min(few, len(order) // size)):
                step = frames.batch(order[b * size : (b + 1) * size] % len(frames.means))
                for name, metric in metrics.items():
                    metric.observe_step(step)
                    scores[f"{name}@{size}"][s, b] = metric.score()
    return {k: v for k, v in scores.items() if np.isfinite(v).all() and v.std() > 0}


def stream(
    n: int, length: int, rho: float, clips: Sequence[int], rng: np.random.Generator
) -> Array:
    """Frame numbers ``(length,)`` of a stream of n frames whose neighbours correlate with ρ.

    Without clips a frame is held with probability ρ, else another is drawn from a resample of the frames:
    every function of a frame then has autocorrelation ρᵏ. With clips it is the moving-block bootstrap
    (Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of Statistics
    1989).
    """
    if clips:
        starts = np.concatenate([[0], np.cumsum(clips)[:-1]])
        pieces: list[Array] = []
        while sum(map(len, pieces)) < length:
            k = int(rng.choice(len(clips), p=np.array(clips) / n))
            piece = min(PIECE, clips[k])
            begin = int(starts[k] + rng.integers(0, clips[k] - piece + 1))
            pieces.append(np.arange(begin, begin + piece))
        return np.concatenate(pieces)[:length]
    pool = rng.integers(0, n, n)
    new = rng.random(length) >= rho
    new[0] = True
    found: Array = pool[rng.integers(0, n, int(new.sum()))][np.cumsum(new) - 1]
    return found


def trace(detector: str, z: Array) -> Array:
    """A detector's statistic along standardised streams ``(streams, blocks)``, never reset by a detection."""
    if not calibratable(detector):
        raise ExportError(
            f"detector {detector!r} cannot be calibrated: it has no statistic and threshold"
        )
    out = np.empty_like(z)
    for s, row in enumerate(z.tolist()):
        made = make_detector(detector)
        made.threshold = float("inf")
        for b, value in enumerate(row):
            made.update(value)
            out[s, b] = made.statistic
    return out


def clip_correlation(view: View, clips: Sequence[int]) -> float:
    """Correlation of neighbouring frames in ordered clips, the largest of entropy, confidence, features."""
    series = np.concatenate(
        [view.features, view.entropy[:, None], view.confidence[:, None]], axis=1
    )
    series = series[:, np.isfinite(series).all(0)]
    leading = np.argsort(-series.var(0))[:8]
    whole, begin = [], 0
    for length in clips:
        usable = length // BLOCK * BLOCK
        whole.append(series[begin : begin + usable, leading])
        begin += length
    return estimate(np.concatenate(whole))
