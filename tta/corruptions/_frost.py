"""Ice, grown from a seed: needles with barbs, in stars, so that no photograph is shipped."""

from __future__ import annotations

from functools import cache

import numpy as np

from tta.corruptions._planes import gaussian, smooth_noise
from tta.records import Array

_SIDE = 512  # pixels of a sheet of ice, which repeats at its edges
_SHEETS = 5
_STARS = 420
_BARB = np.pi / 3  # ice branches at 60 degrees


def frost_texture(height: int, width: int, channels: int, generator: np.random.Generator) -> Array:
    """A piece of one of the sheets, ``(C, H, W)`` in 0..1; small pictures see the sheet from afar."""
    step = 1 if min(height, width) >= 96 else 3
    number = int(generator.integers(_SHEETS))
    sheet = _sheet(number, step)
    rows, columns = (np.arange(s) + int(generator.integers(len(sheet))) for s in (height, width))
    piece = sheet.take(rows, 0, mode="wrap").take(columns, 1, mode="wrap")
    # Thin ice lets the blue of the sky through, thick ice is white.
    blue = np.float32(0.03 + 0.02 * (_SHEETS - number))
    colour = np.array([1 - 2 * blue, 1 - blue / 2, 1], np.float32)
    if channels != 3:
        colour = np.full(channels, 1 - blue, np.float32)
    values: Array = piece * colour[:, None, None]
    return values


@cache
def _sheet(number: int, step: int) -> Array:
    """A sheet ``(side, side)``, reduced by taking means over step x step pixels."""
    side = _SIDE // step
    ice = _grown(number)[: side * step, : side * step]
    values: Array = ice.reshape(side, step, side, step).mean((1, 3))
    return values


@cache
def _grown(number: int) -> Array:
    """A sheet: from thin (dark between the needles) to thick, and uneven."""
    rng = np.random.default_rng([7919, number])
    thick = 0.5 + 0.1 * number
    ice = thick + 0.05 * _octaves(rng, 3, 2.0) + 0.025 * _octaves(rng, 24, 1.2)
    ice += 0.42 * (1.15 - thick) * _stars(rng)
    values: Array = ice.clip(0, 1).astype(np.float32)
    return values


def _stars(rng: np.random.Generator) -> Array:
    """Stars of needles, ``(side, side)``: about 0 between them and up to 3 on them."""
    needles = rng.integers(3, 9, _STARS)
    star = np.repeat(np.arange(_STARS), needles)
    place = rng.uniform(0, _SIDE, (_STARS, 2))[star]
    first, spread = rng.uniform(0, 2 * np.pi, _STARS), rng.uniform(0.2, 2.0, _STARS)
    angle = first[star] + spread[star] * rng.standard_normal(len(star))
    length = rng.integers(12, 55, len(star))
    light = rng.uniform(0.4, 1.0, _STARS)[star]
    field = np.zeros((_SIDE, _SIDE), np.float32)
    _draw(field, place, angle, length, light)
    # Barbs on both sides of every fourth pixel of a needle, shorter towards its tip.
    owner, at = _steps(length, 4)
    base = place[owner] + at[:, None] * np.stack([np.sin(angle), np.cos(angle)], 1)[owner]
    for turn in (-_BARB, _BARB):
        short = 2 + (length[owner] - at) // 5
        _draw(field, base, angle[owner] + turn, short, 0.6 * light[owner])
    field = np.pad(field, 4, mode="wrap")
    return 2.2 * gaussian(field, 0.6)[4:-4, 4:-4] - 0.35


def _steps(length: Array, step: int) -> tuple[Array, Array]:
    """Which line, and where on it: 0, step, 2 step, ... below the length of each."""
    counts = -(-length // step)
    owner = np.repeat(np.arange(len(length)), counts)
    at = step * (np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts))
    return owner, at


def _draw(field: Array, place: Array, angle: Array, length: Array, light: Array) -> None:
    """Draw lines that fade towards their tips, over what is darker."""
    owner, at = _steps(length, 1)
    way = np.stack([np.sin(angle), np.cos(angle)])[:, owner]
    rows, columns = np.rint(place.T[:, owner] + at * way).astype(int) % _SIDE
    bright = light[owner] * (1 - 0.7 * at / length[owner])
    np.maximum.at(field, (rows, columns), bright.astype(np.float32))


def _octaves(rng: np.random.Generator, knots: int, decay: float) -> Array:
    """Smooth noise of unit spread: each octave finer, and weaker by 1.6 decay, than the one before."""
    field = np.zeros((_SIDE, _SIDE), np.float32)
    amplitude = 1.0
    while knots <= _SIDE // 2:
        grid = np.pad(rng.standard_normal((knots, knots)).astype(np.float32), (0, 1), mode="wrap")
        field += amplitude * smooth_noise(grid, _SIDE, _SIDE)
        knots, amplitude = 2 * knots, amplitude / (1.6 * decay)
    values: Array = field / field.std()
    return values
