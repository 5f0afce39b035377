"""What baseline JPEG loses, without its file: colours at half resolution, rounded cosine coefficients.

ITU-T T.81 (1992), Annex A.3.3 for the transform and Annex K.1 for the tables; JFIF 1.02 for the
colours; qualities scale the tables as the Independent JPEG Group's library does.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from tta.records import Array

_LUMA = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62 "
    "18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 "
    "72 92 95 98 112 100 103 99"
)
_CHROMA = (
    "17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99 "
    + "99 " * 32
)
_TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
_TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]], np.float32)


def jpeg(x: Array, quality: int) -> Array:
    """Pictures ``(N, C, H, W)`` in 0..1 as a JPEG of quality 1..100 shows them."""
    light = np.rint(x * 255).astype(np.float32)
    if x.shape[1] != 3:
        values: Array = _plane(light, _LUMA, quality) / np.float32(255)
        return values
    height, width = x.shape[2:]
    ycc = np.rint(_mix(light, _TO_YCC))
    ycc[:, 1:] += 128
    bright = _plane(ycc[:, :1], _LUMA, quality)
    even = _extend(ycc[:, 1:], 16)
    quarter = even.reshape(*even.shape[:2], even.shape[2] // 2, 2, even.shape[3] // 2, 2)
    # Halves are rounded down in even columns and up in odd ones, so that colours do not drift.
    quarter = np.floor((quarter.sum((3, 5)) + 1 + np.arange(quarter.shape[4]) % 2) / 4)
    colour = _plane(quarter, _CHROMA, quality)[:, :, : (height + 1) // 2, : (width + 1) // 2]
    colour = _twice(_twice(colour, 2), 3)[:, :, :height, :width]
    colour = np.floor(colour + (8 - np.arange(width) % 2) / np.float32(16))
    rgb = _mix(np.concatenate([bright, colour - 128], axis=1), _TO_RGB)
    values = np.rint(rgb).clip(0, 255) / np.float32(255)
    return values


def _mix(x: Array, matrix: Array) -> Array:
    """Channels mixed by a matrix, pixel by pixel."""
    mixed = [sum(w * x[:, k] for k, w in enumerate(row)) for row in matrix]
    return np.stack(mixed, axis=1)


def _plane(x: Array, table: str, quality: int) -> Array:
    """Planes ``(N, C, H, W)`` in 0..255 through the 8x8 cosine transform, rounded, and back."""
    n, channels, height, width = x.shape
    whole = _extend(x, 8) - 128
    rows, columns = whole.shape[2] // 8, whole.shape[3] // 8
    blocks = whole.reshape(n, channels, rows, 8, columns, 8).transpose(0, 1, 2, 4, 3, 5)
    basis, steps = _basis(), _steps(table, quality)
    flat = np.ascontiguousarray(blocks).reshape(n, -1, 64)
    # Sums of whole numbers over 8 often lie halfway between steps: halves go away from zero.
    found = (flat @ basis.T) / steps
    kept = np.copysign(np.floor(np.abs(found) + np.float32(0.5 + 1e-5)), found) * steps
    back = (kept @ basis).reshape(n, channels, rows, columns, 8, 8).transpose(0, 1, 2, 4, 3, 5)
    plane = back.reshape(whole.shape)[:, :, :height, :width]
    values: Array = np.rint(plane + 128).clip(0, 255)
    return values


@cache
def _basis() -> Array:
    """The orthonormal 8x8 cosine transform of a block as a matrix ``(64, 64)``."""
    k = np.arange(8)
    cosine = np.cos((2 * k + 1) * k[:, None] * np.pi / 16) / 2
    cosine[0] /= np.sqrt(2)
    return np.kron(cosine, cosine).astype(np.float32)


@cache
def _steps(table: str, quality: int) -> Array:
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = (np.array(table.split(), int) * percent + 50) // 100
    return steps.clip(1, 255).astype(np.float32)


def _extend(x: Array, multiple: int) -> Array:
    """Last row and column repeated until the sides are multiples."""
    height, width = x.shape[2:]
    more = (0, -height % multiple), (0, -width % multiple)
    return np.pad(x, ((0, 0), (0, 0), *more), mode="edge")


def _twice(x: Array, axis: int) -> Array:
    """Twice the pixels: each new one is 3/4 of the nearest and 1/4 of the next."""
    size = x.shape[axis]
    before = x.take(np.maximum(np.arange(size) - 1, 0), axis)
    after = x.take(np.minimum(np.arange(size) + 1, size - 1), axis)
    pair = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis=axis + 1)
    shape = list(x.shape)
    shape[axis] *= 2
    return pair.reshape(shape)
