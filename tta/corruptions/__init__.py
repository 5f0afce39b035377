"""Corruptions: what a changed world, a faulty camera and a worn sensor do to readings.

One file per family holds the family's entries in ``CORRUPTIONS``: name → ``Corruption``, a function
and its constants for severities 1 to 5. A new corruption is a new entry, a new family a new file.
Everything is numpy, and works on whole batches; what is drawn for an image depends on the seed and
on the image's number in its stream, and on nothing else.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from tta.corruptions._draws import Draws
from tta.errors import NotFoundError, TtaError
from tta.records import Array

Kind = Literal["image", "camera", "sensor"]
SMALL_SIDE = (
    96  # pictures with a shorter side take the constants of CIFAR-10-C, others ImageNet-C's
)
_CHUNK = 1 << 22  # values that are worked on at once; results do not depend on it


@dataclass(frozen=True, slots=True)
class Corruption:
    """A corruption: its function and its constants.

    Attributes:
        apply: from readings (images as float32 ``(N, C, H, W)`` in 0..1, sensors ``(N, C, T)``), the
            constant of a severity, and ``Draws``, to readings of the same shape.
        small: constants of severities 1..5 for images whose shorter side is below ``SMALL_SIDE``.
        large: the same for larger ones; as the small ones where empty.
        kind: ``image``, ``camera`` (a fault that lasts over a stream) or ``sensor``.
        none: the constant that changes nothing; with it, severities between whole ones exist.
        extra: an image corruption outside of the standard fifteen.
        places: for faults of a sensor's clock: from numbers of samples ``(T,)`` since the fault began,
            the constant and ``Draws`` to the places ``(n, T)`` in time that are read instead.
    """

    apply: Callable[[Array, Any, Draws], Array]
    small: tuple[Any, ...]
    large: tuple[Any, ...] = ()
    kind: Kind = "image"
    none: Any = None
    extra: bool = False
    places: Callable[[Array, Any, Draws], Array] | None = None

    def constant(self, severity: float, large: bool) -> Any:
        """The constant at a severity, between whole ones on the line that joins them."""
        table = self.large if large and self.large else self.small
        if severity == int(severity):
            return table[int(severity) - 1]
        return np.array(
            [np.interp(severity, range(6), values) for values in _columns(self.none, table)]
        )


def _columns(none: Any, table: tuple[Any, ...]) -> list[list[float]]:
    return [list(column) for column in zip(*(np.atleast_1d(row) for row in (none, *table)))]


@cache
def corruptions() -> Mapping[str, Corruption]:
    """All corruptions by name."""
    found: dict[str, Corruption] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            found.update(importlib.import_module(f"{__name__}.{module.name}").CORRUPTIONS)
    return found


def names(kind: Kind | None = None) -> list[str]:
    """Names of all corruptions, or of those of a kind, sorted.

    >>> "lens_dirt" in names("camera"), "fog" in names("image"), "fog" in names("sensor")
    (True, True, False)
    """
    return sorted(name for name, c in corruptions().items() if kind in (None, c.kind))


def standard() -> list[str]:
    """Names of the fifteen image corruptions of the published benchmarks, sorted."""
    return [name for name in names("image") if not corruptions()[name].extra]


def find(name: str) -> Corruption:
    """The corruption of that name.

    Raises:
        NotFoundError: there is none; the message offers the nearest names.
    """
    known = corruptions()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or sorted(known)
        raise NotFoundError(f"no corruption is named {name!r}; known: {', '.join(near)}")
    return known[name]


def check_severity(name: str, severity: float) -> None:
    """Refuse a severity that a corruption does not have.

    Raises:
        TtaError: it is not in 1..5, or lies between whole numbers where the constants are published.
    """
    if find(name).none is not None:
        if not 0 <= severity <= 5:
            raise TtaError(f"severity of {name} must be from 0 to 5, but is {severity}")
    elif severity not in range(1, 6):
        raise TtaError(f"severity must be a whole number from 1 to 5, but is {severity}")


def corrupt(
    readings: Array,
    name: str,
    severity: float,
    rng: np.random.Generator | int = 0,
    *,
    first: int | Array = 0,
    t_s: Array | None = None,
    scale: Array | None = None,
) -> Array:
    """Readings as they are under a corruption.

    Args:
        readings: images ``(N, H, W)`` or ``(N, H, W, C)`` uint8, C 1 or 3; for a sensor's
            corruption windows ``(N, C, T)`` or samples of a stream ``(N, C)``, real numbers.
        name: one of ``names()``.
        severity: 1 (mild) to 5 (harsh); for faults of cameras and sensors also in between, down to 0.
        rng: a seed, or a generator that draws one.
        first: number of the first reading in its stream, or ``(N,)`` the number of each: with the
            same seed, chunks of a stream are corrupted as the whole.
        t_s: ``(N,)``, seconds since the fault began; by default number / 30.
        scale: ``(C,)``, standard deviation of each channel of a sensor; by default of the readings.

    Returns:
        New readings of the same shape and type.

    Raises:
        NotFoundError: no corruption has that name.
        TtaError: the severity or the readings are none of these.

    >>> images = np.full((2, 28, 28), 100, np.uint8)
    >>> corrupt(images, "contrast", 3).tolist() == images.tolist()
    True
    """
    corruption = find(name)
    check_severity(name, severity)
    seed = int(rng.integers(1 << 62)) if isinstance(rng, np.random.Generator) else int(rng)
    n = len(readings)
    numbers = first + np.arange(n) if isinstance(first, int) else np.asarray(first)
    t_s = numbers / 30 if t_s is None else np.broadcast_to(np.asarray(t_s, float), (n,))
    if corruption.kind == "sensor":
        return _sensor(readings, corruption, severity, seed, numbers, t_s, scale)
    light = _planar(readings)
    if severity == 0:
        values: Array = readings.copy()
        return values
    constant = corruption.constant(severity, min(light.shape[2:]) >= SMALL_SIDE)
    out = np.empty_like(light)
    chunk = max(1, _CHUNK // max(1, light[0].size)) if n else 1
    for k in range(0, n, chunk):
        some = light[k : k + chunk].astype(np.float32) / np.float32(255)
        ones = np.ones(some.shape[1], np.float32)
        draws = Draws(seed, numbers[k : k + chunk], t_s[k : k + chunk], ones)
        changed = corruption.apply(some, constant, draws)
        out[k : k + chunk] = np.rint(changed.clip(0, 1) * 255).astype(np.uint8)
    moved: Array = (
        out[:, 0] if readings.ndim == 3 else np.ascontiguousarray(out.transpose(0, 2, 3, 1))
    )
    return moved


def _planar(images: Array) -> Array:
    """Images as ``(N, C, H, W)``."""
    if (
        images.dtype != np.uint8
        or images.ndim not in (3, 4)
        or (images.ndim == 4 and images.shape[3] not in (1, 3))
        or min(images.shape[1:3]) < 16
    ):
        raise TtaError(
            "images must be uint8 of shape (N, H, W) or (N, H, W, C) with sides of at least 16 pixels "
            f"and 1 or 3 channels, but are {images.dtype} of shape {images.shape}"
        )
    return images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)


def _sensor(
    readings: Array,
    corruption: Corruption,
    severity: float,
    seed: int,
    numbers: Array,
    t_s: Array,
    scale: Array | None,
) -> Array:
    if readings.dtype.kind not in "fiu" or readings.ndim not in (2, 3) or not readings.size:
        raise TtaError(
            "readings of a sensor must be numbers of shape (N, C, T) or (N, C), but are "
            f"{readings.dtype} of shape {readings.shape}"
        )
    stream = readings.ndim == 2
    x = readings.T[None] if stream else readings
    x = x.astype(np.float32)
    if scale is None:
        scale = x.std(axis=(0, 2))
    if severity == 0:
        values: Array = readings.copy()
        return values
    draws = Draws(seed, numbers, t_s, np.asarray(scale, np.float32), stream)
    out = corruption.apply(x, corruption.constant(severity, False), draws)
    changed: Array = (out[0].T if stream else out).astype(readings.dtype)
    return changed


__all__ = [
    "Corruption",
    "Draws",
    "Kind",
    "check_severity",
    "corrupt",
    "corruptions",
    "find",
    "names",
    "standard",
]
