"""Resizes images as Pillow's antialiased bilinear filter does, without Pillow."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from tta.records import Array

_BLOCK = 16  # output pixels per matrix product: few products, each over a short stretch of input
# OpenBLAS shares products of more multiplications among threads, which wait for each other where
# another core is busy, with adaptation say: measured up to 0.4 s instead of 0.02 s for full HD.
_ALONE = 1 << 18


def resize(
    planes: Array, size: tuple[int, int], *, rounded: bool, crop: tuple[int, int, int, int]
) -> Array:
    """Resize, and cut out a part of the result without computing the rest.

    The weight of input pixel i in output pixel o, with scale s = in / out, is the triangle
    max(0, 1 - |i + 1/2 - (o + 1/2)·s| / max(s, 1)), divided by the sum of them; rows first, then
    columns.

    Args:
        planes: ``(C, H, W)`` float32.
        size: ``(h, w)`` of the whole result.
        rounded: round to whole numbers 0..255 after each pass, as Pillow does with 8-bit images.
        crop: ``(top, left, height, width)`` in the result.

    Returns:
        ``(C, height, width)`` float32.

    Reference: ``precompute_coeffs`` in Pillow's src/libImaging/Resample.c.

    >>> ramp = np.array([[[0, 100, 200, 100]]], np.float32)
    >>> resize(ramp, (1, 2), rounded=True, crop=(0, 0, 1, 2)).tolist()
    [[[71.0, 143.0]]]
    """
    top, left, height, width = crop
    rows = _stretch(planes.shape[1], size[0], top, height)
    across = _along_last(planes[:, rows, :], size[1], left, width, rounded)
    down = np.ascontiguousarray(across.transpose(0, 2, 1))
    start = rows.start
    out = _along_last(down, size[0], top, height, rounded, planes.shape[1], start)
    return np.ascontiguousarray(out.transpose(0, 2, 1))


def _along_last(
    x: Array,
    size: int,
    first: int,
    count: int,
    rounded: bool,
    whole: int | None = None,
    offset: int = 0,
) -> Array:
    """Resize the last axis, which holds ``whole`` pixels of which x begins at ``offset``."""
    whole = x.shape[-1] if whole is None else whole
    if whole == size:
        return x[..., first - offset : first - offset + count]
    lines = x.reshape(-1, x.shape[-1])  # BLAS takes slices of a matrix as they are, not of a stack
    out = np.empty((len(lines), count), np.float32)
    for at, low, weights in _bands(whole, size, first, count):
        part = lines[:, low - offset : low - offset + len(weights)]
        into = out[:, at : at + weights.shape[1]]
        step = max(1, _ALONE // weights.size)
        for line in range(0, len(lines), step):
            np.matmul(part[line : line + step], weights, out=into[line : line + step])
    if rounded:
        np.floor(out + np.float32(0.5), out=out)
        np.clip(out, 0, 255, out=out)
    return out.reshape(*x.shape[:-1], count)


def _stretch(whole: int, size: int, first: int, count: int) -> slice:
    """The input pixels that some output pixels see."""
    if whole == size:
        return slice(first, first + count)
    low, high = _window(whole, size, first)[0], _window(whole, size, first + count - 1)[1]
    return slice(low, high)


def _window(whole: int, size: int, at: int) -> tuple[int, int]:
    scale = whole / size
    reach = max(scale, 1.0)
    centre = (at + 0.5) * scale
    return max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), whole)


@lru_cache(maxsize=16)
def _bands(whole: int, size: int, first: int, count: int) -> tuple[tuple[int, int, Array], ...]:
    """Weights of blocks of output pixels: place in the result, first input pixel, ``(in, out)``."""
    scale = whole / size
    bands = []
    for at in range(0, count, _BLOCK):
        outputs = range(first + at, first + min(at + _BLOCK, count))
        low, high = _window(whole, size, outputs[0])[0], _window(whole, size, outputs[-1])[1]
        weights = np.zeros((high - low, len(outputs)))
        for column, output in enumerate(outputs):
            begin, end = _window(whole, size, output)
            distance = np.arange(begin, end) + 0.5 - (output + 0.5) * scale
            triangle = np.maximum(0.0, 1.0 - np.abs(distance) / max(scale, 1.0))
            weights[begin - low : end - low, column] = triangle / math.fsum(triangle)
        bands.append((at, low, weights.astype(np.float32)))
    return tuple(bands)
