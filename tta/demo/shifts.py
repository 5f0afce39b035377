"""Three ways in which a camera's world changes: noise, fog and loss of contrast.

After Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (ICLR 2019), with the constants of their CIFAR-10-C; the fog is our own random field,
so numbers measured with it are not CIFAR-10-C numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Light = npt.NDArray[np.float32]  # 0 is black, 1 is white

SIGMA = (0.04, 0.06, 0.08, 0.09, 0.10)  # of the noise, where white is 1
FOG = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))  # thickness, roll-off
CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)  # what is left of it


def shift(name: str, images: Images, severity: int, rng: np.random.Generator) -> Images:
    """Images as they look after the shift.

    Args:
        name: ``noise``, ``fog`` or ``contrast``.
        images: ``(N, H, W)`` or ``(N, H, W, C)`` uint8.
        severity: 1 (mild) to 5 (harsh).
        rng: where the noise and the fog come from.

    Returns:
        New images of the same shape, uint8.

    Raises:
        ValueError: the name, the severity or the images are none of these.

    >>> images = np.full((2, 4, 4), 100, np.uint8)
    >>> shift("noise", images, 3, np.random.default_rng(0))[0, 0].tolist()
    [123, 72, 91, 84]
    """
    if name not in SHIFTS:
        raise ValueError(f"no shift is named {name!r}; there are: {', '.join(SHIFTS)}")
    if severity not in range(1, 6):
        raise ValueError(f"severity must be a whole number from 1 to 5, but is {severity}")
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(
            "images must be uint8 of shape (N, H, W) or (N, H, W, C), "
            f"but are {images.dtype} of shape {images.shape}"
        )
    light: Light = images.astype(np.float32) / np.float32(255)
    light = SHIFTS[name](light, severity - 1, rng).clip(0, 1)
    shifted: Images = np.rint(light * 255).astype(np.uint8)
    return shifted


def noise(light: Light, level: int, rng: np.random.Generator) -> Light:
    """Gaussian noise on each pixel: a sensor at high gain."""
    noisy: Light = light + np.float32(SIGMA[level]) * rng.standard_normal(light.shape, np.float32)
    return noisy


def fog(light: Light, level: int, rng: np.random.Generator) -> Light:
    """Clouds added to the picture, whose brightest pixel keeps its place: (x + c f) m / (m + c)."""
    thickness, rolloff = FOG[level]
    n, height, width = light.shape[:3]
    veil = clouds(n, height, width, rolloff, rng)
    veil = veil.reshape(n, height, width, *[1] * (light.ndim - 3))
    brightest = light.max(axis=tuple(range(1, light.ndim)), keepdims=True)
    foggy: Light = (light + thickness * veil) * brightest / (brightest + thickness)
    return foggy


def contrast(light: Light, level: int, rng: np.random.Generator) -> Light:
    """Each channel of each picture drawn towards its mean: haze, or a dirty lens."""
    mean = light.mean(axis=(1, 2), keepdims=True)
    pale: Light = mean + CONTRAST[level] * (light - mean)
    return pale


def clouds(n: int, height: int, width: int, rolloff: float, rng: np.random.Generator) -> Light:
    """Random fields ``(n, height, width)`` in 0..1: octaves of smooth noise.

    Octave k is a grid of 2^k cells a side, interpolated bilinearly, at amplitude rolloff^-k: what
    diamond-square makes point by point, here for any size and all pictures at once.
    """
    field: Light = np.zeros((n, height, width), np.float32)
    octaves = max(1, int(np.ceil(np.log2(max(height, width)))))
    for k in range(octaves):
        knots = 2**k + 1
        grid = rng.standard_normal((n, knots, knots), np.float32)
        field += rolloff**-k * (_bilinear(height, knots) @ grid @ _bilinear(width, knots).T)
    field -= field.min(axis=(1, 2), keepdims=True)
    field /= field.max(axis=(1, 2), keepdims=True)
    return field


def _bilinear(size: int, knots: int) -> Light:
    """Weights ``(size, knots)`` that interpolate between evenly spaced knots."""
    place = np.linspace(0, knots - 1, size, dtype=np.float32)[:, None]
    weights: Light = np.maximum(0, 1 - np.abs(place - np.arange(knots, dtype=np.float32)))
    return weights


SHIFTS: dict[str, Callable[[Light, int, np.random.Generator], Light]] = {
    "noise": noise,
    "fog": fog,
    "contrast": contrast,
}
