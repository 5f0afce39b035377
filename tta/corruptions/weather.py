"""Weather: fog, frost, snow, brightness, and spatter on the lens.

After Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (ICLR 2019), with the constants of their CIFAR-10-C and ImageNet-C. The frost is grown
here instead of photographed, so numbers measured with it are not theirs.
"""

from __future__ import annotations

import numpy as np

from tta.corruptions import Corruption
from tta.corruptions._draws import Draws
from tta.corruptions._frost import frost_texture
from tta.corruptions._planes import gaussian, middle, pad, sample, streak
from tta.corruptions.blur import streak_weights
from tta.records import Array

_GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # luma of ITU-R BT.601
_WATER = np.array([175, 238, 238], np.float32) / 255
_MUD = np.array([63, 42, 20], np.float32) / 255


def tinted(colour: Array, channels: int) -> Array:
    """A colour ``(3,)`` as ``(C, 1, 1)``; its brightness where pictures are gray."""
    values = colour if channels == 3 else np.full(channels, colour @ _GRAY, np.float32)
    return values[:, None, None]


def luma(x: Array) -> Array:
    """Brightness ``(N, 1, H, W)``."""
    if x.shape[1] != 3:
        mean: Array = x.mean(axis=1, keepdims=True)
        return mean
    values: Array = x[:, :1] * _GRAY[0] + x[:, 1:2] * _GRAY[1] + x[:, 2:] * _GRAY[2]
    return values


def fog(x: Array, veil: tuple[float, float], draws: Draws) -> Array:
    """Clouds added to the picture, whose brightest value keeps its place: (x + c f) m / (m + c).

    Args:
        x: ``(N, C, H, W)``.
        veil: thickness c, and how much smoother than its detail the cloud is.
        draws: random numbers.
    """
    thickness, decay = veil
    height, width = x.shape[2:]
    brightest = x.max(axis=(1, 2, 3), keepdims=True)
    cloud = plasma(height, width, decay, draws)[:, None]
    foggy: Array = (x + np.float32(thickness) * cloud) * brightest / (brightest + thickness)
    return foggy


def plasma(height: int, width: int, decay: float, draws: Draws) -> Array:
    """Random fields ``(N, height, width)`` in 0..1 by diamond-square on a torus.

    Fournier, Fussell & Carpenter, "Computer rendering of stochastic models", CACM 25(6), 1982: the
    middle of each square, then of each edge, is the mean of its four neighbours plus a random
    number, whose amplitude falls by decay² from one halving of the grid to the next.
    """
    size = 2
    while size < max(height, width):
        size *= 2
    field = np.zeros((draws.n, size, size), np.float32)
    numbers = draws.uniform(size * size) * 2 - 1
    used, step, amplitude = 0, size, np.float32(1)

    def rough(mean: Array) -> Array:
        nonlocal used
        count = mean[0].size
        drawn = numbers[:, used : used + count].reshape(mean.shape)
        used += count
        values: Array = mean / 4 + amplitude * drawn
        return values

    while step >= 2:
        half = step // 2
        corners = field[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, 1)
        middles = rough(pairs + np.roll(pairs, -1, 2))
        field[:, half::step, half::step] = middles
        across = middles + np.roll(middles, 1, 1) + corners + np.roll(corners, -1, 2)
        field[:, ::step, half::step] = rough(across)
        along = middles + np.roll(middles, 1, 2) + corners + np.roll(corners, -1, 1)
        field[:, half::step, ::step] = rough(along)
        step, amplitude = half, np.float32(amplitude / decay**2)
    field -= field.min(axis=(1, 2), keepdims=True)
    field /= field.max(axis=(1, 2), keepdims=True)
    return field[:, :height, :width]


def frost(x: Array, frozen: tuple[float, float], draws: Draws) -> Array:
    """Ice on the window: a x + b ice, each picture behind another piece of grown ice.

    Args:
        x: ``(N, C, H, W)``.
        frozen: what is left of the picture, and how thick the ice is.
        draws: random numbers.
    """
    height, width = x.shape[2:]
    out = np.float32(frozen[0]) * x
    ice = [frost_texture(height, width, x.shape[1], generator) for generator in draws.each]
    out += np.float32(frozen[1]) * np.stack(ice)
    values: Array = out
    return values


def snow(x: Array, fall: tuple[float, ...], draws: Draws) -> Array:
    """Flakes in two directions in front of a paler picture.

    Args:
        x: ``(N, C, H, W)``.
        fall: mean and sigma of the noise that flakes are cut from, their size, the threshold, radius
            and sigma of their streaks, and what is left of the picture's own colours.
        draws: random numbers.
    """
    mean, sigma, size, threshold, radius, blur, own = fall
    n, _, height, width = x.shape
    noise = np.float32(mean) + np.float32(sigma) * draws.normal(1, height, width)
    shape = (n, height, width)
    rows = np.broadcast_to(middle(height, size)[:, None], shape)
    columns = np.broadcast_to(middle(width, size), shape)
    flakes = sample(noise, rows, columns, "nearest")
    flakes[flakes < threshold] = 0
    flakes = np.floor(flakes.clip(0, 1) * 255) / np.float32(255)
    angles = np.pi / 2 * (draws.uniform(1)[:, 0] - np.float32(1.5))
    layer = streak(flakes, streak_weights(int(radius), blur), angles)
    pale = np.maximum(x, luma(x) * np.float32(1.5) + np.float32(0.5))
    white = np.float32(own) * x + np.float32(1 - own) * pale
    snowy: Array = white + layer + layer[:, :, ::-1, ::-1]
    return snowy


def brightness(x: Array, more: float, draws: Draws) -> Array:
    """Value of HSV raised: hue and saturation stay."""
    value = x.max(axis=1, keepdims=True)
    raised = np.minimum(value + np.float32(more), 1)
    bright: Array = np.where(value > 0, x * (raised / np.maximum(value, 1e-6)), raised)
    return bright.astype(np.float32)


def spatter(x: Array, splash: tuple[float, ...], draws: Draws) -> Array:
    """Drops of water (mild) or mud (harsh) on the lens.

    Args:
        x: ``(N, C, H, W)``.
        splash: mean and sigma of the noise that drops are cut from, its smoothing, the threshold,
            how strong the water is or how soft the mud's edge, and 1 for mud.
        draws: random numbers.
    """
    mean, sigma, smooth, threshold, strength, mud = splash
    liquid = np.float32(mean) + np.float32(sigma) * draws.normal(1, *x.shape[2:])
    liquid = gaussian(liquid, smooth)
    wet = liquid > threshold
    if mud:
        cover = gaussian(wet.astype(np.float32), strength)
        cover[cover < 0.8] = 0
        muddy: Array = x * (1 - cover) + cover * tinted(_MUD, x.shape[1])
        return muddy
    shine = _relief(wet[:, 0])[:, None] * np.where(wet, liquid, 0)
    shine /= np.maximum(shine.max(axis=(1, 2, 3), keepdims=True), 1e-6)
    shiny: Array = x + np.float32(strength) * shine * tinted(_WATER, x.shape[1])
    return shiny


def _relief(wet: Array) -> Array:
    """Light on drops ``(N, H, W)``, 0..255: the distance from their edges, equalised and embossed."""
    distance = np.minimum(_distance(_edges(wet)), 20)
    distance = np.floor(_box3(distance)).astype(np.int64)
    equalised = np.stack([_equalise(each) for each in distance]).astype(np.float32)
    padded = pad(equalised, 1, "mirror")
    height, width = wet.shape[1:]
    embossed = np.zeros_like(equalised)
    for row, weights in enumerate(((-2, -1, 0), (-1, 1, 1), (0, 1, 2))):
        for column, weight in enumerate(weights):
            if weight:
                embossed += weight * padded[:, row : row + height, column : column + width]
    return _box3(embossed.clip(0, 255))


def _edges(wet: Array) -> Array:
    """Wet pixels with a dry neighbour."""
    around = pad(wet, 1, "nearest")
    inner = around[:, :-2, 1:-1] & around[:, 2:, 1:-1] & around[:, 1:-1, :-2] & around[:, 1:-1, 2:]
    edges: Array = wet & ~inner
    return edges


def _distance(edges: Array, most: int = 20) -> Array:
    """Euclidean distance to the nearest edge, up to ``most``: along rows, then down columns.

    Felzenszwalb & Huttenlocher, "Distance transforms of sampled functions", 2012, eq. 3.
    """
    height, width = edges.shape[1:]
    far = np.float32(most + 1)
    along = np.where(edges, 0, far).astype(np.float32)
    for k in range(1, width):
        np.minimum(along[:, :, k], along[:, :, k - 1] + 1, out=along[:, :, k])
        np.minimum(along[:, :, -k - 1], along[:, :, -k] + 1, out=along[:, :, -k - 1])
    squared = along * along
    best = squared.copy()
    for k in range(1, min(most + 1, height)):
        np.minimum(best[:, k:], squared[:, :-k] + k * k, out=best[:, k:])
        np.minimum(best[:, :-k], squared[:, k:] + k * k, out=best[:, :-k])
    values: Array = np.sqrt(best)
    return values


def _box3(x: Array) -> Array:
    """Mean over 3x3 pixels of ``(N, H, W)``."""
    p = pad(x, 1, "mirror")
    rows = p[:, :-2] + p[:, 1:-1] + p[:, 2:]
    values: Array = (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / np.float32(9)
    return values


def _equalise(levels: Array) -> Array:
    """Levels 0..255 spread so that each is as frequent as the other: histogram equalisation."""
    counts = np.bincount(levels.ravel(), minlength=256)
    lowest = counts[np.flatnonzero(counts)[0]]
    total = levels.size - lowest
    if total == 0:
        return levels
    table = np.rint((np.cumsum(counts) - lowest).clip(0) * (255 / total))
    spread: Array = table[levels]
    return spread


CORRUPTIONS = {
    "snow": Corruption(
        snow,
        small=(
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        large=(
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "frost": Corruption(
        frost,
        small=((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        large=((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    ),
    "fog": Corruption(
        fog,
        small=((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        large=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    "brightness": Corruption(
        brightness, small=(0.05, 0.1, 0.15, 0.2, 0.3), large=(0.1, 0.2, 0.3, 0.4, 0.5)
    ),
    "spatter": Corruption(
        spatter,
        small=(
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
        large=(
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ),
        extra=True,
    ),
}
