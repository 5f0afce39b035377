"""What processing does to pictures: contrast, saturation, pixels, JPEG, elastic bending.

After Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (ICLR 2019), with the constants of their CIFAR-10-C and ImageNet-C.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from tta.corruptions import Corruption
from tta.corruptions._draws import Draws
from tta.corruptions._jpeg import jpeg
from tta.corruptions._planes import gaussian, sample
from tta.errors import TtaError
from tta.records import Array


def contrast(x: Array, left: float, draws: Draws) -> Array:
    """Each channel of each picture drawn towards its mean: m + c (x - m)."""
    mean = x.mean(axis=(2, 3), keepdims=True)
    pale: Array = mean + np.float32(left) * (x - mean)
    return pale


def saturate(x: Array, change: tuple[float, float], draws: Draws) -> Array:
    """Saturation of HSV times a, plus b; hue and value stay.

    Args:
        x: ``(N, 3, H, W)``.
        change: a and b.
        draws: random numbers, none are used.

    Raises:
        TtaError: the pictures are gray.
    """
    if x.shape[1] != 3:
        raise TtaError("saturate changes colours, but the images are gray: take another corruption")
    value = x.max(axis=1, keepdims=True)
    spread = value - x.min(axis=1, keepdims=True)
    saturation = spread / np.maximum(value, 1e-6)
    wanted = (saturation * np.float32(change[0]) + np.float32(change[1])).clip(0, 1)
    # Where there is no colour, hue 0 is red.
    red = np.array([0, 1, 1], np.float32)[:, None, None]
    hue = np.where(spread > 0, (value - x) / np.maximum(spread, 1e-6), red)
    coloured: Array = value * (1 - wanted * hue)
    return coloured


def pixelate(x: Array, share: float, draws: Draws) -> Array:
    """Reduced to a share of its size by means over boxes, and enlarged by repeating pixels."""
    out = x
    for axis in (2, 3):
        down, _ = _boxes(x.shape[axis], share)
        out = down @ out if axis == 2 else out @ down.T
    out = np.rint(out * 255) / np.float32(255)
    out = out.take(_boxes(x.shape[2], share)[1], 2)
    values: Array = out.take(_boxes(x.shape[3], share)[1], 3)
    return values


@cache
def _boxes(size: int, share: float) -> tuple[Array, Array]:
    """Weights ``(small, size)`` of the reduction, and the small pixel behind each large one."""
    small = max(1, int(size * share))
    ratio = size / small
    centre = (np.arange(small) + 0.5) * ratio
    first = np.floor(centre - ratio / 2 + 0.5)[:, None]
    last = np.floor(centre + ratio / 2 + 0.5)[:, None]
    at = np.arange(size)
    weights = ((at >= first) & (at < last)).astype(np.float32)
    weights /= weights.sum(axis=1, keepdims=True)
    behind = np.floor((np.arange(size) + 0.5) / ratio).astype(int)
    return weights, behind.clip(0, small - 1)


def jpeg_compression(x: Array, quality: int, draws: Draws) -> Array:
    """As a JPEG of that quality shows it, colours at half the resolution."""
    return jpeg(x, quality)


def elastic_transform(x: Array, bend: tuple[float, float, float], draws: Draws) -> Array:
    """A random affine map, then each pixel moved by a smooth random field.

    Args:
        x: ``(N, C, H, W)``.
        bend: length of the moves, smoothness of the field, and largest move of the affine map's three
            points, each as a share of the side.
        draws: random numbers.
    """
    n, _, height, width = x.shape
    length, smooth, affine = (np.float32(part * min(height, width)) for part in bend)
    at = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"))
    rows, columns = _affine(n, height, width, affine, draws) @ _homogeneous(at)
    x = sample(x, rows.reshape(n, height, width), columns.reshape(n, height, width), "mirror")
    if not length:
        return x
    field = gaussian(draws.uniform(2, height, width) * 2 - 1, float(smooth), "reflect", 3.0)
    rows, columns = np.moveaxis(at + length * field, 1, 0)
    return sample(x, rows, columns, "reflect")


def _homogeneous(at: Array) -> Array:
    """Places ``(2, H, W)`` as ``(3, H·W)`` with ones."""
    flat = at.reshape(2, -1).astype(np.float64)
    return np.concatenate([flat, np.ones((1, flat.shape[1]))])


def _affine(n: int, height: int, width: int, most: float, draws: Draws) -> Array:
    """Maps ``(2, N, 3)`` from a pixel's place to where its value comes from."""
    middle, reach = np.array([height // 2, width // 2]), min(height, width) // 3
    corners = middle + reach * np.array([[1, 1], [-1, 1], [-1, -1]])
    moved = corners + most * (draws.uniform(3, 2).astype(np.float64) * 2 - 1)
    ones = np.ones((n, 3, 1))
    maps = np.linalg.solve(np.concatenate([moved, ones], 2), np.broadcast_to(corners, (n, 3, 2)))
    return np.moveaxis(maps, 2, 0)


CORRUPTIONS = {
    "contrast": Corruption(
        contrast, small=(0.75, 0.5, 0.4, 0.3, 0.15), large=(0.4, 0.3, 0.2, 0.1, 0.05)
    ),
    "saturate": Corruption(
        saturate,
        small=((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        large=((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        extra=True,
    ),
    "pixelate": Corruption(
        pixelate, small=(0.95, 0.9, 0.85, 0.75, 0.65), large=(0.6, 0.5, 0.4, 0.3, 0.25)
    ),
    "jpeg_compression": Corruption(
        jpeg_compression, small=(80, 65, 58, 50, 40), large=(25, 18, 15, 10, 7)
    ),
    # ImageNet-C's were multiples of 244, by a slip that its pictures were made with.
    "elastic_transform": Corruption(
        elastic_transform,
        small=(
            (0, 0, 0.08),
            (0.05, 0.2, 0.07),
            (0.08, 0.06, 0.06),
            (0.1, 0.04, 0.05),
            (0.1, 0.03, 0.03),
        ),
        large=tuple(
            tuple(part * 244 / 224 for part in parts)
            for parts in (
                (2, 0.7, 0.1),
                (2, 0.08, 0.2),
                (0.05, 0.01, 0.02),
                (0.07, 0.01, 0.02),
                (0.12, 0.01, 0.02),
            )
        ),
    ),
}
