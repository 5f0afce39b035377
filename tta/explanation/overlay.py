"""Heat over what it lies on: a picture as pixels, a sensor's window as SVG."""

from __future__ import annotations

import numpy as np

from tta.evaluation.picture import data_uri, is_image, pixels
from tta.explanation.heat import stretched
from tta.records import Array, Frame
from tta.runtime.image_input import ImageInput

SIDE = 224  # longer side of a picture, in pixels
LEAST_TOP = 2.0  # times the mean from which heat is drawn in full, at least
GLOW = ((150, 20, 90), (235, 80, 40), (255, 225, 70))  # from a little above the mean to the top
LINES = ("#0067a8", "#c24e00", "#00795a", "#a2306b", "#6b5b00", "#5a5d66")
WIDTH, LANE = 640, 46  # of a window's drawing


def strength(heat: Array, top: float) -> Array:
    """0 where the heat is at most the mean (1), 1 from ``top`` on.

    >>> strength(np.array([0.5, 1.0, 2.0, 9.0]), 3.0).tolist()
    [0.0, 0.0, 0.5, 1.0]
    """
    share: Array = np.clip((np.asarray(heat, np.float64) - 1) / (top - 1), 0, 1)
    return share


def top_of(heats: Array) -> float:
    """Heat to draw in full: that of the hottest half per cent, so that pictures can be compared."""
    return max(LEAST_TOP, float(np.quantile(heats, 0.995)))


def over(picture: Array, heat: Array, top: float, seen: tuple[float, float, float, float]) -> Array:
    """A picture in gray with heat glowing over it, ``(h, w, 3)`` uint8.

    Args:
        picture: uint8 ``(h, w)`` or ``(h, w, 3)``.
        heat: ``(H, W)`` of the model's input, mean 1.
        top: heat that glows in full.
        seen: the part of the picture that the model saw: top, left, bottom and right as shares.
    """
    gray = picture.astype(np.float64)
    gray = gray if gray.ndim == 2 else gray @ [0.299, 0.587, 0.114]
    height, width = gray.shape
    edges = [round(s * n) for s, n in zip(seen, (height, width, height, width))]
    part = (
        slice(edges[0], max(edges[2], edges[0] + 1)),
        slice(edges[1], max(edges[3], edges[1] + 1)),
    )
    size = (part[0].stop - part[0].start, part[1].stop - part[1].start)
    share = np.zeros((height, width))
    share[part] = strength(stretched(heat[None], size)[0], top)
    anchors = np.linspace(0, 1, len(GLOW))
    colour = np.stack([np.interp(share, anchors, [c[k] for c in GLOW]) for k in range(3)], -1)
    opacity = (0.8 * np.sqrt(share))[..., None]
    out: Array = np.rint(gray[..., None] * (1 - opacity) + colour * opacity).astype(np.uint8)
    return out


def picture_of(
    frame: Frame, x: Array, preprocess: object
) -> tuple[Array, tuple[float, float, float, float]] | None:
    """A frame as uint8 pixels with the part that the model saw; None where it is no picture.

    Where the frame is none but the model's input ``(1 | 3, H, W)`` is, that is drawn, least to largest value.
    """
    whole = (0.0, 0.0, 1.0, 1.0)
    data = np.asarray(frame.data)
    if isinstance(preprocess, ImageInput) and (is_image(data) or data.ndim == 2):
        drawn, seen = pixels(data, SIDE), preprocess.seen(*data.shape[:2])
    elif x.ndim == 3 and x.shape[0] in (1, 3):
        low, high = float(x.min()), float(x.max())
        light = (x.transpose(1, 2, 0) - low) / max(high - low, 1e-12)
        drawn, seen = pixels(light.astype(np.float32), SIDE), whole
    else:
        return None
    times = SIDE // (2 * max(drawn.shape[:2]))
    return (np.repeat(np.repeat(drawn, times, 0), times, 1) if times > 1 else drawn), seen


def window(x: Array, heat: Array, top: float) -> str:
    """A window of signals ``(C, T)`` as an SVG, time to the right, hot times with a glowing ground."""
    channels, length = x.shape
    height = LANE * channels
    column = over(np.full((1, length), 255, np.uint8), heat[None], top, (0.0, 0.0, 1.0, 1.0))
    box = f'x="0" y="0" width="{WIDTH}" height="{height}"'
    parts = [f'<image {box} preserveAspectRatio="none" href="{data_uri(column)}"/>']
    across = (np.arange(length) + 0.5) / length * WIDTH
    for k, row in enumerate(x):
        low, high = float(row.min()), float(row.max())
        down = LANE * (k + 0.9 - 0.8 * (row - low) / max(high - low, 1e-12))
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, down))
        colour = LINES[k % len(LINES)]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    return f"{head}<title>{channels} channels over {length} samples</title>{''.join(parts)}</svg>"


def hottest(heat: Array) -> list[float]:
    """Place of the largest heat as shares of the input's sides: row and column, or the time.

    >>> hottest(np.array([[0, 0], [0, 1.0]])), hottest(np.array([0, 3.0, 0, 0]))
    ([0.75, 0.75], [0.375])
    """
    at = np.unravel_index(int(np.argmax(heat)), heat.shape)
    return [round((float(k) + 0.5) / n, 4) for k, n in zip(at, heat.shape)]


def beside(pictures: list[Array]) -> Array:
    """Pictures of one height side by side, white between them."""
    height = pictures[0].shape[0]
    gap = np.full((height, 4, 3), 255, np.uint8)
    row = [piece for p in pictures for piece in (gap, p)][1:]
    joined: Array = np.concatenate(row, axis=1)
    return joined


__all__ = ["beside", "hottest", "over", "picture_of", "strength", "top_of", "window"]
