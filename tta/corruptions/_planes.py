"""Filters and samplers of pictures ``(N, C, H, W)``; each picture comes out the same in any batch."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np

from tta.records import Array

Border = Literal["nearest", "reflect", "mirror"]


def fold(index: Array, size: int, border: Border) -> Array:
    """Indices outside of 0..size-1 brought inside.

    >>> fold(np.arange(-2, 5), 3, "nearest").tolist()
    [0, 0, 0, 1, 2, 2, 2]
    >>> fold(np.arange(-2, 5), 3, "reflect").tolist()
    [1, 0, 0, 1, 2, 2, 1]
    >>> fold(np.arange(-2, 5), 3, "mirror").tolist()
    [2, 1, 0, 1, 2, 1, 0]
    """
    if border == "nearest" or size == 1:
        return np.clip(index, 0, size - 1)
    period = 2 * size if border == "reflect" else 2 * size - 2
    index = index % period
    last = period - 1 if border == "reflect" else period
    return np.where(index < size, index, last - index)


@cache
def gaussian_matrix(size: int, sigma: float, border: Border, truncate: float) -> Array:
    """The matrix ``(size, size)`` that blurs a column with a Gaussian cut at truncate·sigma."""
    radius = int(truncate * sigma + 0.5)
    reach = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (reach / sigma) ** 2) if radius else np.ones(1)
    matrix = np.zeros((size, size))
    rows = np.repeat(np.arange(size), reach.size)
    columns = fold(np.arange(size)[:, None] + reach, size, border).ravel()
    np.add.at(matrix, (rows, columns), np.tile(weights / weights.sum(), size))
    return matrix.astype(np.float32)


def gaussian(x: Array, sigma: float, border: Border = "nearest", truncate: float = 4.0) -> Array:
    """Gaussian blur of ``(..., H, W)``, sigma in pixels."""
    if sigma * truncate < 0.5:
        return x
    height, width = x.shape[-2:]
    rows = gaussian_matrix(height, sigma, border, truncate)
    columns = gaussian_matrix(width, sigma, border, truncate)
    blurred: Array = rows @ x @ columns.T
    return blurred


def pad(x: Array, margin: int, border: Border) -> Array:
    """``(..., H + 2 margin, W + 2 margin)``."""
    height, width = x.shape[-2:]
    rows = fold(np.arange(-margin, height + margin), height, border)
    columns = fold(np.arange(-margin, width + margin), width, border)
    return x.take(rows, axis=-2).take(columns, axis=-1)


def convolve(x: Array, kernel: Array, border: Border = "mirror") -> Array:
    """``(..., H, W)`` with a symmetric odd-sized kernel, by FFT."""
    margin = kernel.shape[0] // 2
    padded = pad(x, margin, border)
    size = tuple(_smooth(s) for s in padded.shape[-2:])
    spectrum = np.fft.rfft2(padded, size) * np.fft.rfft2(kernel, size)
    full = np.fft.irfft2(spectrum, size)
    height, width = x.shape[-2:]
    inner = full[..., 2 * margin : 2 * margin + height, 2 * margin : 2 * margin + width]
    return inner.astype(np.float32)


@cache
def _smooth(size: int) -> int:
    """The next size whose FFT is fast: no prime factor above 5."""
    rest = size
    for prime in (2, 3, 5):
        while rest % prime == 0:
            rest //= prime
    return size if rest == 1 else _smooth(size + 1)


def streak(x: Array, weights: Array, angles: Array, scale: float = 1.0) -> Array:
    """Motion blur: the weighted mean of the picture moved along a line, edges repeated.

    Args:
        x: ``(N, C, H, W)``.
        weights: of moves by 0, 1, 2, ... pixels.
        angles: ``(N,)`` radians, 0 moves to the left.
        scale: pixels a step.
    """
    n, _, height, width = x.shape
    margin = int(np.ceil(scale * (len(weights) - 1)))
    padded = pad(x, margin, "nearest")
    out = np.zeros_like(x)
    steps = scale * np.arange(len(weights))
    down = np.rint(steps * np.sin(angles)[:, None]).astype(int) + margin
    right = np.rint(steps * np.cos(angles)[:, None]).astype(int) + margin
    for k in range(n):
        for weight, top, left in zip(weights, down[k], right[k]):
            out[k] += weight * padded[k, :, top : top + height, left : left + width]
    return out


def sample(x: Array, rows: Array, columns: Array, border: Border) -> Array:
    """Bilinear values of ``(N, C, H, W)`` at the places ``rows, columns``, each ``(N, h, w)``."""
    n, channels, height, width = x.shape
    top, left = np.floor(rows), np.floor(columns)
    down = (rows - top).astype(np.float32)[:, None]
    right = (columns - left).astype(np.float32)[:, None]
    r0, c0 = top.astype(np.int32), left.astype(np.int32)
    r = [fold(r0 + k, height, border) * width for k in (0, 1)]
    c = [fold(c0 + k, width, border) for k in (0, 1)]
    flat = x.reshape(n, channels, height * width)

    def corner(i: int, j: int) -> Array:
        index = (r[i] + c[j]).reshape(n, -1)
        out = np.empty((n, channels, index.shape[1]), np.float32)
        for k in range(n):  # a take a picture stays in the cache
            flat[k].take(index[k], axis=1, out=out[k], mode="clip")
        return out.reshape(n, channels, *rows.shape[1:])

    upper = corner(0, 0) * (1 - right) + corner(0, 1) * right
    lower = corner(1, 0) * (1 - right) + corner(1, 1) * right
    values: Array = upper * (1 - down) + lower * down
    return values


def middle(size: int, factor: float) -> Array:
    """Places, in a row of pixels, whose values make its middle enlarged by the factor, ``(size,)``."""
    kept = int(np.ceil(size / factor))
    grown = round(kept * factor)
    trim = (grown - size) // 2
    places: Array = (size - kept) // 2 + (np.arange(size) + trim) * (kept - 1) / max(1, grown - 1)
    return places


@cache
def _bilinear(size: int, knots: int) -> Array:
    """Weights ``(size, knots)`` that interpolate between evenly spaced knots."""
    place = np.linspace(0, knots - 1, size)[:, None]
    values: Array = np.maximum(0, 1 - np.abs(place - np.arange(knots))).astype(np.float32)
    return values


def smooth_noise(knots: Array, height: int, width: int) -> Array:
    """Values at knots ``(..., a, b)`` interpolated to ``(..., height, width)``."""
    a, b = knots.shape[-2:]
    field: Array = _bilinear(height, a) @ knots @ _bilinear(width, b).T
    return field
