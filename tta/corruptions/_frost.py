"""Ice, grown: feathers of ice that meet at seams, from a seed, so that no photograph is shipped."""

from __future__ import annotations

from functools import cache

import numpy as np

from tta.corruptions._planes import smooth_noise
from tta.records import Array

_SIDE = 512  # pixels of a sheet of ice, seen by a picture of 224
_SHEETS = 5
_COLOUR = np.array([0.86, 0.95, 1.0], np.float32)


def frost_texture(height: int, width: int, channels: int, generator: np.random.Generator) -> Array:
    """A piece of one of the sheets, ``(C, H, W)`` in 0..1; small pictures see the sheet from afar."""
    step = 1 if min(height, width) >= 96 else 3
    sheet = _sheet(int(generator.integers(_SHEETS)), step)
    rows, columns = (np.arange(s) + int(generator.integers(len(sheet))) for s in (height, width))
    piece = sheet.take(rows, 0, mode="wrap").take(columns, 1, mode="wrap")
    colour = _COLOUR if channels == 3 else np.full(channels, 0.93, np.float32)
    return piece * colour[:, None, None]


@cache
def _sheet(number: int, step: int) -> Array:
    """A sheet ``(side, side)``, reduced by taking means over step x step pixels.

    Ice grows from points in feathers: each place belongs to the nearest point, and its brightness
    waves with the distance to it, bent by smooth noise, finer and finer octaves of which roughen it.
    """
    rng = np.random.default_rng([7919, number])
    at = np.stack(np.meshgrid(np.arange(_SIDE), np.arange(_SIDE), indexing="ij")).astype(np.float32)
    bend = np.stack([_octaves(rng, 4, 1.0) for _ in range(2)])
    place = at + 28 * bend
    seeds = rng.uniform(0, _SIDE, (26, 2)).astype(np.float32)
    turn = rng.uniform(0, 2 * np.pi, len(seeds)).astype(np.float32)
    near = np.full((_SIDE, _SIDE), np.float32(_SIDE))
    next_, owner = near.copy(), np.zeros((_SIDE, _SIDE), int)
    away = np.zeros_like(place)
    for k, seed in enumerate(seeds):
        apart = place - seed[:, None, None]
        apart -= _SIDE * np.rint(apart / _SIDE)  # the sheet is a torus
        far = np.hypot(apart[0], apart[1])
        closer = far < near
        next_ = np.where(closer, near, np.minimum(next_, far))
        near = np.where(closer, far, near)
        owner[closer] = k
        away = np.where(closer, apart, away)
    angle = np.arctan2(away[0], away[1]) + turn[owner]
    feather = np.abs(np.sin(9 * angle + 0.02 * near + 2.5 * bend[0]))
    barbs = np.abs(np.sin(0.22 * near + 5 * feather))
    seam = np.exp(-(next_ - near) / 5)
    grain = _octaves(rng, 16, 1.4)
    ice = 0.22 * (1 - feather) ** 2 + 0.16 * (1 - barbs) ** 2 + 0.3 * seam + 0.16 * grain
    ice += 0.36 + 0.2 * _octaves(rng, 3, 2.0)
    side = _SIDE // step
    ice = ice[: side * step, : side * step].reshape(side, step, side, step).mean((1, 3))
    values: Array = ice.clip(0, 1).astype(np.float32)
    return values


def _octaves(rng: np.random.Generator, knots: int, decay: float) -> Array:
    """Smooth noise of unit spread: octaves at 1, decay^-1, decay^-2, ... of the amplitude."""
    field = np.zeros((_SIDE, _SIDE), np.float32)
    amplitude = 1.0
    while knots <= _SIDE // 2:
        grid = rng.standard_normal((knots, knots)).astype(np.float32)
        grid = np.pad(grid, (0, 1), mode="wrap")
        field += amplitude * smooth_noise(grid, _SIDE, _SIDE)
        knots, amplitude = 2 * knots, amplitude / (1.6 * decay)
    values: Array = field / field.std()
    return values
