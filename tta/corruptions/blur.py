"""Blur: out of focus, frosted glass, motion, zoom, Gaussian.

After Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (ICLR 2019), with the constants of their CIFAR-10-C and ImageNet-C. Lengths are pixels.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from tta.corruptions import Corruption
from tta.corruptions._draws import Draws
from tta.corruptions._planes import convolve, fold, gaussian, middle, streak
from tta.records import Array


def gaussian_blur(x: Array, sigma: float, draws: Draws) -> Array:
    """A Gaussian of that standard deviation."""
    return gaussian(x, sigma)


def defocus_blur(x: Array, disk: tuple[float, float], draws: Draws) -> Array:
    """Every point becomes a disk: its radius, and the sigma that softens its edge."""
    return convolve(x, _disk(*disk))


@cache
def _disk(radius: float, softness: float) -> Array:
    reach = 8 if radius <= 8 else int(np.ceil(radius))
    at = np.arange(-reach, reach + 1)
    disk = ((at[:, None] ** 2 + at**2) <= radius**2).astype(np.float32)
    edge = np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)
    soft = np.exp(-0.5 * (edge / softness) ** 2)
    soft /= soft.sum()
    for axis in (0, 1):
        # The border of the kernel mirrors, so that a disk that fills it keeps its weight.
        index = fold(at[:, None] + reach + edge, at.size, "mirror")
        disk = (disk.take(index, axis) * (soft if axis else soft[:, None])).sum(axis + 1)
    values: Array = (disk / disk.sum()).astype(np.float32)
    return values


def glass_blur(x: Array, glass: tuple[float, int, int], draws: Draws) -> Array:
    """Frosted glass: blur, pixels that take the place of a near one, blur.

    Args:
        x: ``(N, C, H, W)``.
        glass: sigma of both blurs, reach of a pixel, and how many times the pixels move.
        draws: random numbers.
    """
    sigma, reach, times = glass
    x = np.floor(gaussian(x, sigma) * 255)
    n, channels, height, width = x.shape
    source = np.broadcast_to(np.arange(height * width), (n, height * width))
    for _ in range(times):
        source = np.take_along_axis(source, _moved(n, height, width, reach, draws), axis=1)
    flat = x.reshape(n, channels, -1)
    moved = np.stack([plane.take(index, axis=1) for plane, index in zip(flat, source)])
    return gaussian(moved.reshape(x.shape) / np.float32(255), sigma)


def _moved(n: int, height: int, width: int, reach: int, draws: Draws) -> Array:
    """Where each pixel's value comes from, ``(n, H·W)``, after one pass of moves in place.

    The pass goes from the last pixel to the first; each takes the present value of a random one
    within reach. One that lies further on has been visited, so its own source counts: that chain is
    followed for all pixels at once, by doubling.
    """
    inner = (height - 2 * reach, width - 2 * reach)
    places = np.arange(height * width).reshape(height, width)
    visited = places[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1]
    step = draws.integers(-reach, reach, 2, *inner)
    target = np.broadcast_to(places.ravel(), (n, height * width)).copy()
    target[:, visited.ravel()] = (visited + step[:, 0] * width + step[:, 1]).reshape(n, -1)
    unvisited = np.ones(height * width, bool)
    unvisited[visited] = False
    # A chain ends at a pixel that was not visited yet, or never is.
    ends = (target <= places.ravel()) | unvisited[target]
    while not ends.all():
        further, ended = np.take_along_axis(target, target, 1), np.take_along_axis(ends, target, 1)
        target, ends = np.where(ends, target, further), ends | ended
    values: Array = target
    return values


def motion_blur(x: Array, motion: tuple[int, float], draws: Draws) -> Array:
    """The camera moves: a one-sided Gaussian streak in a direction within 45 degrees of level.

    Args:
        x: ``(N, C, H, W)``.
        motion: radius, of which the streak is 2 r + 1 long, and sigma.
        draws: random numbers.
    """
    angles = np.pi / 2 * (draws.uniform(1)[:, 0] - np.float32(0.5))
    return streak(x, streak_weights(*motion), angles)


@cache
def streak_weights(radius: int, sigma: float) -> Array:
    """A half Gaussian over 2 radius + 1 pixels; what weighs nothing in 8 bits is left out."""
    weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    weights = weights[weights > 1e-4]
    values: Array = (weights / weights.sum()).astype(np.float32)
    return values


def zoom_blur(x: Array, zoom: tuple[float, float], draws: Draws) -> Array:
    """The mean of the picture and of its middle enlarged by 1, 1 + step, ... below the largest factor."""
    factors = np.arange(1, *zoom)
    out = x.copy()
    height, width = x.shape[2:]
    for factor in factors:
        y = _enlarge(_enlarge(x, 2, _zoomed(height, factor)), 3, _zoomed(width, factor))
        out += y
    values: Array = out / np.float32(len(factors) + 1)
    return values


@cache
def _zoomed(size: int, factor: float) -> tuple[Array, Array, Array]:
    """Two neighbours and the weight of the second, at each place of the enlarged middle."""
    place = middle(size, factor)
    below = np.floor(place).astype(int)
    return below, np.minimum(below + 1, size - 1), (place - below).astype(np.float32)


def _enlarge(x: Array, axis: int, places: tuple[Array, Array, Array]) -> Array:
    below, above, weight = places
    if axis == 2:
        weight = weight[:, None]
    low = x.take(below, axis)
    values: Array = low + weight * (x.take(above, axis) - low)
    return values


CORRUPTIONS = {
    "defocus_blur": Corruption(
        defocus_blur,
        small=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        large=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "glass_blur": Corruption(
        glass_blur,
        small=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        large=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    "motion_blur": Corruption(
        motion_blur,
        small=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        large=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    "zoom_blur": Corruption(
        zoom_blur,
        small=((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        large=((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    "gaussian_blur": Corruption(
        gaussian_blur, small=(0.4, 0.6, 0.7, 0.8, 1), large=(1, 2, 3, 4, 6), extra=True
    ),
}
