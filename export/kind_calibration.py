"""Learns at export to name kinds of shifts, from faults simulated on the calibration images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tta import registry
from tta.bundle import Bundle
from tta.corruptions import corrupt, names
from tta.errors import ExportError, TtaError
from tta.gauge import BLOCK, LARGEST
from tta.kinds import fit, with_layers
from tta.monitor import INPUT_EVERY
from tta.records import Array, Frame, Moments, Step, View
from tta.runtime.preprocess import build
from tta.runtime.session import AdaptSession
from tta.runtime.stream import prediction
from tta.watch import SETTLE, SKIP

IMAGES = 256  # behind each simulated fault
REPEATS = 2  # faults of one name and severity, each with images and a seed of its own
REPLAYS = 3  # signatures of each
BATCH = 16
SHOWS = 3.0  # deviations that some score must move by: what is not detected is not named
CAMERA = {
    "lens_dirt": "lens_dirt",
    "camera_moved": "camera_moved",
    "dead_column": "sensor_fault",
    "exposure_hunting": "sensor_fault",
    "focus_drift": "covariate",
}
MIXES = 12  # label mixes to learn from, and as many to test on

Signatures = tuple[list[dict[str, float]], list[str], list[int]]  # with kinds and numbers of faults
Fault = Callable[[Array, int], Array]


def calibrate_kinds(
    bundle: Bundle,
    session: AdaptSession,
    samples: Array,
    known: Mapping[str, Array],
    targets: Array | None,
) -> dict[str, Array]:
    """Arrays ``drift.kinds.*`` for a bundle whose inputs are images.

    Learned from severities 1, 3 and 5 of faults on one half of the samples, tested on severities 2 and 4,
    on the other half, with other seeds; every third corruption is not learned from at all.

    Args:
        bundle: the bundle under construction.
        session: its graphs.
        samples: preprocessed samples ``(N, C, H, W)``.
        known: calibration so far, with gauges.
        targets: labels, for shifts of the label mix.

    Raises:
        ExportError: the samples are too few, or are no images that the preprocessing can be undone for.
    """
    images = raw_images(bundle, samples)
    if len(images) < 2 * IMAGES or "drift.rho" not in known:
        raise ExportError(f"kinds need at least {2 * IMAGES} samples, but there are {len(images)}")
    found, tested = simulated(bundle, session, samples, images, known, targets)
    return {f"drift.kinds.{k}": v for k, v in fit(found[0], found[1], *tested).items()}


def simulated(
    bundle: Bundle,
    session: AdaptSession,
    samples: Array,
    images: Array,
    known: Mapping[str, Array],
    targets: Array | None,
) -> tuple[Signatures, Signatures]:
    """Signatures and their kinds, to learn from and to test on."""
    half = len(images) // 2
    parts = (np.arange(half), np.arange(half, len(images)))
    both: tuple[Signatures, Signatures] = (([], [], []), ([], [], []))
    for test, (signatures, kinds, numbers) in enumerate(both):
        number = 0
        rng = np.random.default_rng(test)
        for kind, fault in faults(bool(test)):
            for repeat in range(REPEATS):
                chosen = rng.choice(parts[test], IMAGES, replace=False)
                inputs = preprocessed(bundle, fault(images[chosen], 100 * test + repeat))
                signatures += shown(bundle, session, inputs, known, rng)
                number += 1
                numbers += [number] * (len(signatures) - len(kinds))
                kinds += [kind] * (len(signatures) - len(kinds))
        for chosen in mixes(parts[test], targets, rng):
            signatures += shown(bundle, session, samples[chosen], known, rng)
            number += 1
            numbers += [number] * (len(signatures) - len(kinds))
            kinds += ["label_mix"] * (len(signatures) - len(kinds))
    return both


def faults(test: bool) -> Iterator[tuple[str, Fault]]:
    """Kinds of faults with what makes them of images and a seed."""
    for k, name in enumerate(names("image")):
        if k % 3 == 2 and not test:
            continue
        for severity in (2, 4) if test else (1, 3, 5):
            yield "covariate", _fault(name, severity)
    for name, kind in CAMERA.items():
        for severity in (2, 4) if test else (1, 2, 3, 4, 5):
            for _ in range(1 if kind == "covariate" else 2):
                yield kind, _fault(name, severity)


def _fault(name: str, severity: int) -> Fault:
    turn = np.random.default_rng(severity)

    def apply(images: Array, seed: int) -> Array:
        try:
            return np.asarray(
                corrupt(images, name, severity, 1000 * seed + int(turn.integers(1000)))
            )
        except TtaError:  # one of colours, on grey images
            return images

    return apply


def mixes(part: Array, targets: Array | None, rng: np.random.Generator) -> Iterator[Array]:
    """Choices of samples whose labels are mixed otherwise: Dirichlet(0.3) weights of the classes."""
    if targets is None or targets.ndim != 1 or not np.issubdtype(targets.dtype, np.integer):
        return
    labels = targets[part]
    classes = np.unique(labels)
    for _ in range(MIXES):
        weight = rng.dirichlet(np.full(len(classes), 0.3))[np.searchsorted(classes, labels)]
        weight = weight / np.bincount(labels, minlength=labels.max() + 1)[labels]
        yield rng.choice(part, IMAGES, p=weight / weight.sum())


def shown(
    bundle: Bundle,
    session: AdaptSession,
    inputs: Array,
    known: Mapping[str, Array],
    rng: np.random.Generator,
) -> list[dict[str, float]]:
    """Signatures of a stream of those inputs, as a watch sees it settle; none if it would see nothing."""
    steps = [
        session.run("batch", inputs[k : k + BATCH], bundle.source_slots, alpha=0.0)
        for k in range(0, len(inputs) - BATCH + 1, BATCH)
    ]
    answers = [
        prediction(bundle, {k: v[i] for k, v in step.outputs.items()}, 0.0)
        for step in steps
        for i in range(BATCH)
    ]
    probabilities = np.array([p.probabilities for p in answers])
    n = len(answers)
    features = np.array([p.outputs["features"].ravel() for p in answers])
    entropy = np.array([p.entropy for p in answers])
    confidence = probabilities.max(1)
    found = []
    for _ in range(REPLAYS):
        scores: dict[str, list[float]] = {}
        metrics = {
            m: registry.load("tta.drift", m)(bundle.manifest, known)
            for m in registry.names("tta.drift")
        }
        for block in range(SKIP + SETTLE):
            chosen = rng.integers(0, n, BLOCK)
            view = View(
                features[chosen],
                probabilities[chosen],
                np.zeros((BLOCK, 0)),
                entropy[chosen],
                confidence[chosen],
                inputs[chosen[::INPUT_EVERY]],
            )
            for name, metric in metrics.items():
                metric.observe(view)
                if block >= SKIP:
                    scores.setdefault(name, []).append(metric.score())
        layers: dict[str, float] = {}
        for k in rng.permutation(len(steps)):
            bare = Step({}, {layer: Moments(*m) for layer, m in steps[k].moments.items()})
            for name, metric in metrics.items():
                metric.observe_step(bare)
                scores.setdefault(f"{name}@{BATCH}", []).append(metric.score())
                layers |= metric.layers()
        signature = {}
        for name, values in scores.items():
            if f"drift.gauge.{name}" in known:
                centre, spread = known[f"drift.gauge.{name}"][0]
                z = (np.array(values) - centre) / max(float(spread), 1e-9)
                signature[name] = float(np.clip(z, -LARGEST, LARGEST).mean())
        if max(map(abs, signature.values()), default=0.0) > SHOWS:
            found.append(with_layers(signature, layers))
    return found


def raw_images(bundle: Bundle, samples: Array) -> Array:
    """The 8-bit images ``(N, H, W)`` or ``(N, H, W, C)`` that samples were made of.

    Raises:
        ExportError: they are no images, or making samples of them again gives other samples.
    """
    spec: Mapping[str, Any] = bundle.manifest.preprocess
    if spec.get("kind") != "image" or samples.ndim != 4:
        raise ExportError("kinds of shifts are learned from images, but the inputs are none")
    x = samples if spec.get("layout", "CHW") == "HWC" else np.moveaxis(samples, 1, -1)
    scale = float(spec.get("scale", 1.0))
    light = x * np.asarray(spec.get("std", 1.0)) + np.asarray(spec.get("mean", 0.0))
    images: Array = np.rint(light / scale).clip(0, 255).astype(np.uint8)
    images = images[..., 0] if images.shape[-1] == 1 else images
    again = preprocessed(bundle, images[:8])
    if not np.allclose(again, samples[:8], atol=2 * scale / float(np.min(spec.get("std", 1.0)))):
        raise ExportError("the samples are not what the preprocessing makes of 8-bit images")
    return images


def preprocessed(bundle: Bundle, images: Array) -> Array:
    """Model inputs of images."""
    make = build(bundle.manifest.preprocess, bundle.manifest.input)
    made = [make(Frame(image, 0.0, k)) for k, image in enumerate(images)]
    return np.stack([x for x in made if x is not None])
