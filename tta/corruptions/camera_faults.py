"""Faults of a camera that last: each is a function of the stream's seed and of the time since it began.

The severities are our own. All faults exist at severities in between, so that they can grow slowly.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tta.corruptions import Corruption
from tta.corruptions._draws import Draws
from tta.corruptions._planes import gaussian, sample
from tta.records import Array

_DIRT = np.array([0.30, 0.27, 0.22], np.float32)
_SETTLE_S = 20.0  # seconds in which a lens creeps out of focus


def lens_dirt(x: Array, specks: Array, draws: Draws) -> Array:
    """Specks on the lens, far out of focus, that stay in place: (1 - a) x + a dirt.

    A harsher severity has the specks of a milder one and more.

    Args:
        x: ``(N, C, H, W)``.
        specks: their number, the last one of which may be in part.
        draws: the seed says where they are.
    """
    cover = _dirt(draws.seed, x.shape[2], x.shape[3], float(np.ravel(specks)[0]))
    colour = _DIRT if x.shape[1] == 3 else np.full(x.shape[1], _DIRT.mean(), np.float32)
    dirty: Array = x * (1 - cover) + cover * colour[:, None, None]
    return dirty


def _dirt(seed: int, height: int, width: int, specks: float) -> Array:
    """How much of the light the specks hold off, ``(H, W)``; the last one may be there in part."""
    whole = int(specks)
    through = _through(seed, height, width, whole)
    if specks > whole:
        through = through * (1 - np.float32(specks - whole) * _speck(seed, height, width, whole))
    values: Array = 1 - through
    return values


@lru_cache(maxsize=48)
def _through(seed: int, height: int, width: int, specks: int) -> Array:
    """How much of the light goes through the first specks."""
    if not specks:
        return np.ones((height, width), np.float32)
    before = _through(seed, height, width, specks - 1)
    values: Array = before * (1 - _speck(seed, height, width, specks - 1))
    return values


@lru_cache(maxsize=48)
def _speck(seed: int, height: int, width: int, number: int) -> Array:
    """How much of the light one speck holds off: an ellipse with a soft edge."""
    drawn = np.random.default_rng([seed, 11, number]).uniform(size=6)
    row, column, size, shape, turn, density = drawn.tolist()
    down = np.arange(height, dtype=np.float32)[:, None] / height - row
    right = np.arange(width, dtype=np.float32) / width - column
    cos, sin = float(np.cos(np.pi * turn)), float(np.sin(np.pi * turn))
    along, across = down * cos + right * sin, (right * cos - down * sin) * (1 + shape)
    away = np.hypot(along, across) / (0.03 + 0.12 * size**2)
    values: Array = (0.55 + 0.4 * density) / (1 + np.exp(np.minimum(7 * (away - 1), 50)))
    return values


def camera_moved(x: Array, amount: Array, draws: Draws) -> Array:
    """The mount gave way: the picture turned, shifted and nearer, by amounts that the seed signs.

    Args:
        x: ``(N, C, H, W)``.
        amount: turn in degrees, shift as a share of the side, and enlargement.
        draws: the seed says in which direction.
    """
    turn, shift, nearer = (float(a) for a in amount)
    rng = draws.scene()
    turn = np.deg2rad(turn) * rng.choice([-1.0, 1.0])
    heading = rng.uniform(0, 2 * np.pi)
    n, _, height, width = x.shape
    at = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"))
    middle = np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    down, right = (at - middle) / (1 + nearer)
    way = shift * min(height, width) * np.array([np.sin(heading), np.cos(heading)])
    rows = down * np.cos(turn) - right * np.sin(turn) + middle[0] + way[0]
    columns = down * np.sin(turn) + right * np.cos(turn) + middle[1] + way[1]
    shape = (n, height, width)
    return sample(x, np.broadcast_to(rows, shape), np.broadcast_to(columns, shape), "reflect")


def dead_column(x: Array, share: Array, draws: Draws) -> Array:
    """Columns of the sensor that read one value for ever; a harsher severity has those of a milder one.

    Args:
        x: ``(N, C, H, W)``.
        share: of the columns, at least one of them.
        draws: the seed says which columns, and their values.
    """
    width = x.shape[3]
    count = max(1, round(float(np.ravel(share)[0]) * width))
    rng = draws.scene()
    columns = rng.permutation(width)[:count]
    values = rng.choice(np.array([0, 0, 1], np.float32), width)[:count]
    out: Array = x.copy()
    out[:, :, :, columns] = values
    return out


def exposure_hunting(x: Array, stops: Array, draws: Draws) -> Array:
    """The automatic exposure does not settle: the gain swings about 1, by a number of stops either way.

    gain(t) = 2^(A w(t)), w(t) = (2 sin(2π t / 3.1 s + φ) + sin(2π t / 1.3 s + ψ)) / 3, phases by the seed.

    Args:
        x: ``(N, C, H, W)``.
        stops: amplitude A.
        draws: the seed says the phases, ``t_s`` where in the swing each picture is.
    """
    slow, fast = draws.scene().uniform(0, 2 * np.pi, 2)
    t_s = draws.t_s
    swing = 2 * np.sin(2 * np.pi * t_s / 3.1 + slow) + np.sin(2 * np.pi * t_s / 1.3 + fast)
    gain = np.exp2(float(np.ravel(stops)[0]) * swing / 3).astype(np.float32)
    exposed: Array = x * gain[:, None, None, None]
    return exposed


def focus_drift(x: Array, blur: Array, draws: Draws) -> Array:
    """The lens creeps out of focus: a Gaussian blur of σ(t) = σ (1 - exp(-t / 20 s)).

    Args:
        x: ``(N, C, H, W)``.
        blur: final sigma as a share of the shorter side.
        draws: ``t_s`` says how far it has crept at each picture.
    """
    final = float(np.ravel(blur)[0]) * min(x.shape[2:])
    # Steps of 1/32 pixel are not seen, and few blurs are made.
    sigmas = np.rint(32 * final * -np.expm1(-np.maximum(draws.t_s, 0) / _SETTLE_S)) / 32
    out = np.empty_like(x)
    for sigma in np.unique(sigmas):
        now = sigmas == sigma
        out[now] = gaussian(x[now], float(sigma))
    return out


CORRUPTIONS = {
    "lens_dirt": Corruption(lens_dirt, small=(3, 6, 11, 18, 28), kind="camera", none=0),
    "camera_moved": Corruption(
        camera_moved,
        small=(
            (3, 0.03, 0.03),
            (6, 0.06, 0.05),
            (10, 0.1, 0.08),
            (16, 0.14, 0.12),
            (25, 0.18, 0.18),
        ),
        kind="camera",
        none=(0, 0, 0),
    ),
    "dead_column": Corruption(
        dead_column, small=(0.01, 0.03, 0.06, 0.1, 0.16), kind="camera", none=0
    ),
    "exposure_hunting": Corruption(
        exposure_hunting, small=(0.3, 0.6, 1.0, 1.5, 2.0), kind="camera", none=0
    ),
    "focus_drift": Corruption(
        focus_drift, small=(0.012, 0.02, 0.03, 0.042, 0.06), kind="camera", none=0
    ),
}
