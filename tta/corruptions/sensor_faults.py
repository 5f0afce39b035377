"""Faults of a sensor that samples a signal ``(N, C, T)``: its gain, offset, noise, mount, clock and wire.

The severities are our own, in units of each channel's standard deviation where they have one. All
faults exist at severities in between, so that they can grow slowly.
"""

from __future__ import annotations

import numpy as np

from tta.corruptions import Corruption
from tta.corruptions._draws import Draws
from tta.errors import TtaError
from tta.records import Array


def sensor_gain(x: Array, gain: Array, draws: Draws) -> Array:
    """All channels times a gain: a worn transducer, a loose strap."""
    weak: Array = x * np.float32(np.ravel(gain)[0])
    return weak


def sensor_offset(x: Array, size: Array, draws: Draws) -> Array:
    """A constant added to each channel, of a sign that the seed gives it: zero drift, heat."""
    signs = draws.scene().choice(np.array([-1, 1], np.float32), x.shape[1])
    moved: Array = x + (np.float32(np.ravel(size)[0]) * draws.scale * signs)[:, None]
    return moved


def sensor_noise(x: Array, sigma: Array, draws: Draws) -> Array:
    """Gaussian noise on each sample."""
    noise = draws.along("normal", *x.shape[1:])
    noisy: Array = x + np.float32(np.ravel(sigma)[0]) * draws.scale[:, None] * noise
    return noisy


def axis_rotation(x: Array, degrees: Array, draws: Draws) -> Array:
    """The sensor sits askew: each triad of channels turned about an axis that the seed gives.

    R = cos θ I + sin θ [k]× + (1 - cos θ) k kᵀ (Rodrigues 1840).

    Raises:
        TtaError: the channels are not triads.
    """
    channels = x.shape[1]
    if channels % 3:
        raise TtaError(
            f"axis_rotation turns triads of channels such as x, y, z, but the sensor has {channels}: "
            "take another fault"
        )
    axis = draws.scene().standard_normal(3)
    a, b, c = axis / np.linalg.norm(axis)
    cross = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
    theta = np.deg2rad(float(np.ravel(degrees)[0]))
    turn = np.eye(3) + np.sin(theta) * cross + (1 - np.cos(theta)) * (cross @ cross)
    triads = x.reshape(len(x), channels // 3, 3, x.shape[2])
    # One multiply-add at a time: a matrix product may round by the length of the stretch.
    out = np.zeros_like(triads)
    for k, j in np.ndindex(3, 3):
        out[:, :, k] += np.float32(turn[k, j]) * triads[:, :, j]
    return out.reshape(x.shape)


def sensor_dropout(x: Array, share: Array, draws: Draws) -> Array:
    """A loose wire: that share of the samples reads zero, all channels at once."""
    lost = draws.along("uniform", 1, x.shape[2]) < float(np.ravel(share)[0])
    gappy: Array = np.where(lost, np.float32(0), x)
    return gappy


def stuck_value(x: Array, share: Array, draws: Draws) -> Array:
    """Channels that read one value for ever: at least one, and that share of them.

    A harsher severity has the stuck channels of a milder one; which, and at what, the seed says.
    """
    channels = x.shape[1]
    count = min(channels, max(1, round(float(np.ravel(share)[0]) * channels)))
    rng = draws.scene()
    which = rng.permutation(channels)[:count]
    stuck: Array = rng.standard_normal(channels) * draws.scale
    out: Array = x.copy()
    out[:, which] = stuck[which, None]
    return out


def _faster(at: Array, rate: Array, draws: Draws) -> Array:
    return np.broadcast_to(at * float(np.ravel(rate)[0]), (draws.n, at.size))


def sampling_rate(x: Array, rate: Array, draws: Draws) -> Array:
    """A clock that is fast: sample k is read at time rate·k, so that everything seems slower."""
    return read_at(x, _faster(np.arange(x.shape[2]), rate, draws))


def _shaken(at: Array, sigma: Array, draws: Draws) -> Array:
    noise = draws.along("normal", 1, at.size)[:, 0]
    return at + float(np.ravel(sigma)[0]) * noise


def clock_jitter(x: Array, sigma: Array, draws: Draws) -> Array:
    """A clock that is shaky: sample k is read at time k + σ n."""
    return read_at(x, _shaken(np.arange(x.shape[2]), sigma, draws))


def read_at(x: Array, places: Array) -> Array:
    """Values of ``(N, C, T)`` between samples: on the line that joins them, the ends held.

    Args:
        x: the signals.
        places: ``(N, t)``, in samples.
    """
    places = places.clip(0, x.shape[2] - 1)
    below = np.floor(places).astype(int)
    above = np.minimum(below + 1, x.shape[2] - 1)
    weight = (places - below).astype(np.float32)[:, None]
    low, high = (np.take_along_axis(x, each[:, None], 2) for each in (below, above))
    values: Array = low + weight * (high - low)
    return values


CORRUPTIONS = {
    "sensor_gain": Corruption(
        sensor_gain, small=(0.9, 0.8, 0.65, 0.5, 0.35), kind="sensor", none=1
    ),
    "sensor_offset": Corruption(
        sensor_offset, small=(0.1, 0.25, 0.5, 0.75, 1), kind="sensor", none=0
    ),
    "sensor_noise": Corruption(
        sensor_noise, small=(0.1, 0.25, 0.5, 0.75, 1), kind="sensor", none=0
    ),
    "axis_rotation": Corruption(axis_rotation, small=(5, 15, 30, 45, 60), kind="sensor", none=0),
    "sensor_dropout": Corruption(
        sensor_dropout, small=(0.01, 0.05, 0.1, 0.2, 0.4), kind="sensor", none=0
    ),
    "stuck_value": Corruption(
        stuck_value, small=(0.15, 0.3, 0.5, 0.65, 0.85), kind="sensor", none=0
    ),
    "sampling_rate": Corruption(
        sampling_rate,
        small=(0.95, 0.9, 0.8, 0.65, 0.5),
        kind="sensor",
        none=1,
        places=_faster,
    ),
    "clock_jitter": Corruption(
        clock_jitter, small=(0.2, 0.5, 1, 2, 4), kind="sensor", none=0, places=_shaken
    ),
}
