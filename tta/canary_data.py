"""Canaries as they come in: checked against a bundle, read from it, and as it keeps them.

A bundle has them in ``canaries.safetensors``: ``x`` float32 ``(n, ...)``, the model's inputs, ``y`` their
targets, ``major`` uint8 ``(n,)``, and ``tolerance`` for a regression. Its sha256 is in the manifest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tta.bundle import Bundle
from tta.canaries import TASKS, Canaries
from tta.errors import BundleError, TtaError
from tta.manifest import Manifest
from tta.records import Array

FILE = "canaries.safetensors"
MOST = 512  # members
MOST_MAJOR = 24  # of them must-never-break: they are shown each time, and leave room for the others


def canaries(
    manifest: Manifest,
    x: Array,
    y: Array,
    severity: Sequence[str] | Array | None = None,
    tolerance: Array | None = None,
) -> Canaries:
    """Checked canaries.

    Args:
        manifest: of the bundle that they are for.
        x: model inputs ``(n, ...)``.
        y: targets, see ``Canaries``.
        severity: ``minor`` or ``major`` each; default all minor.
        tolerance: needed for a regression.

    Raises:
        TtaError: they do not fit the bundle; the sentence says what does not.
    """
    return gathered(manifest, list(np.asarray(x)), np.asarray(y), severity, tolerance)


def gathered(
    manifest: Manifest,
    frames: Sequence[Array],
    y: Array,
    severity: Sequence[str] | Array | None = None,
    tolerance: Array | None = None,
) -> Canaries:
    """The same from frames that lie apart, which are not read into one array."""
    task, n = manifest.task, len(frames)
    if task not in TASKS:
        raise TtaError(
            f"canaries are for the tasks {', '.join(TASKS)} so far, but this bundle's is {task}"
        )
    if not 0 < n <= MOST:
        raise TtaError(f"there may be 1 to {MOST} canaries, but these are {n}: choose some of them")
    want = manifest.input.sample
    for frame in frames:
        fits = len(frame.shape) == len(want) and all(
            w in (None, g) for w, g in zip(want, frame.shape)
        )
        if not fits or frame.dtype.kind not in "fiu":
            raise TtaError(
                f"canaries are preprocessed inputs (n, {', '.join(map(str, want))}) of {manifest.name}, but "
                f"one is {frame.dtype}{frame.shape}"
            )
        if not np.isfinite(frame).all():
            raise TtaError("a canary holds NaN or infinity: leave it out")
    if len(y) != n:
        raise TtaError(f"{n} canaries need as many targets y, but there are {len(y)}")
    given = ["minor"] * n if severity is None else [str(s) for s in severity]
    if len(given) != n or not set(given) <= {"minor", "major"}:
        raise TtaError(
            f"severity is minor or major for each of the {n} canaries, but is {given[:3]}…"
        )
    major = np.array([s == "major" for s in given])
    if major.sum() > MOST_MAJOR:
        raise TtaError(
            f"at most {MOST_MAJOR} canaries may be must-never-break (major), but {major.sum()} are: all of "
            "them are shown to each proposal"
        )
    limits = np.zeros(0) if tolerance is None else np.asarray(tolerance, np.float64).reshape(-1)
    return Canaries(
        task, frames, _targets(manifest, y, limits), major, limits, tuple(manifest.labels)
    )


def shipped(bundle: Bundle) -> Canaries | None:
    """The canaries in a bundle, None where it has none.

    Raises:
        BundleError: they do not fit it.
    """
    found = bundle.canaries()
    if not found:
        return None
    try:
        major = ["major" if m else "minor" for m in found["major"]]
        return canaries(bundle.manifest, found["x"], found["y"], major, found.get("tolerance"))
    except (TtaError, KeyError) as error:
        raise BundleError(f"{FILE} does not fit its bundle ({error}): export again") from error


def packed(manifest: Manifest, given: Mapping[str, Array]) -> dict[str, Array]:
    """What a bundle keeps of canaries that are given as ``x``, ``y``, ``severity`` and ``tolerance``.

    Raises:
        TtaError: one of these is missing, or they do not fit the bundle.
    """
    if missing := {"x", "y"} - given.keys():
        raise TtaError(f"canaries need x and y, but have no {' and no '.join(sorted(missing))}")
    if unknown := given.keys() - {"x", "y", "severity", "tolerance"}:
        raise TtaError(
            f"canaries are x, y, severity and tolerance, but these have {sorted(unknown)[0]}: leave it out"
        )
    x = np.ascontiguousarray(given["x"], np.float32)
    made = canaries(manifest, x, given["y"], given.get("severity"), given.get("tolerance"))
    arrays = {"x": x, "y": np.ascontiguousarray(made.targets), "major": made.major.astype(np.uint8)}
    return {**arrays, "tolerance": made.tolerance} if made.tolerance.size else arrays


def _targets(manifest: Manifest, y: Array, tolerance: Array) -> Array:
    width = manifest.outputs[manifest.primary]
    if manifest.task == "regress":
        if tolerance.size not in (1, math.prod(width)) or not (tolerance > 0).all():
            raise TtaError(
                f"canaries of a regression need the tolerable error of its {math.prod(width)} outputs, each "
                f"above 0, as tolerance, but have {tolerance.tolist()}"
            )
        values = np.asarray(y, np.float64).reshape(len(y), -1)
        if values.shape != (len(y), *width) or not np.isfinite(values).all():
            raise TtaError(f"targets y must be finite and (n, {width[0]}), but are {np.shape(y)}")
        return values
    classes = width[-1]
    wanted = (len(y),) if manifest.task == "classify" else (len(y), classes)
    if y.shape != wanted or y.dtype.kind not in "iub":
        raise TtaError(f"targets y must be whole numbers {wanted}, but are {y.dtype}{y.shape}")
    top = classes if manifest.task == "classify" else 2
    if ((y < 0) | (y >= top)).any():
        bad = int(y[(y < 0) | (y >= top)].reshape(-1)[0])
        raise TtaError(
            f"a canary has label {bad}, but the labels of {manifest.name} are 0 to {top - 1}: were they made "
            "for another model?"
        )
    return y.astype(np.int64)


__all__ = ["FILE", "MOST", "MOST_MAJOR", "canaries", "gathered", "packed", "shipped"]
