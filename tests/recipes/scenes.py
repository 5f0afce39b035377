"""Scenes of one to three Fashion-MNIST things on an uneven ground, with the truth of four tasks.

The things keep their pixels; where they lie, how large they are and the ground are drawn. So each scene has a
map of classes, boxes and a set of labels, all exact.
"""

from dataclasses import dataclass

import numpy as np

SIZE = 48  # pixels a side
SMALLEST, LARGEST = 10, 28
MOST = 3  # things
GROUPS = ("background", "clothing", "shoe", "bag")
GROUP = np.array([1, 1, 1, 1, 1, 2, 1, 2, 3, 2])  # of the ten classes of Fashion-MNIST
SEEN = 0.15  # share of full light from which a pixel is the thing's


@dataclass(frozen=True)
class Scenes:
    """n scenes.

    Attributes:
        images: ``(n, 48, 48)`` uint8.
        masks: groups ``(n, 48, 48)`` uint8, 0 the background.
        boxes: ``(n, 3, 5)``: x1, y1, x2, y2 in pixels and group - 1; -1 where there is no thing.
        classes: which of the ten classes are there, ``(n, 10)`` of 0 and 1.
    """

    images: np.ndarray
    masks: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray


def scenes(things: np.ndarray, labels: np.ndarray, n: int, seed: int) -> Scenes:
    """Draw scenes of these images ``(m, 28, 28)`` with classes ``(m,)``; the same for the same seed."""
    rng = np.random.default_rng(seed)
    images = np.stack([_ground(rng) for _ in range(n)])
    masks = np.zeros((n, SIZE, SIZE), np.uint8)
    boxes = np.full((n, MOST, 5), -1, np.float32)
    classes = np.zeros((n, 10), np.int64)
    for k in range(n):
        taken = np.zeros((SIZE, SIZE), bool)
        for j in range(int(rng.integers(1, MOST + 1))):
            chosen = int(rng.integers(len(things)))
            side = int(rng.integers(SMALLEST, LARGEST + 1))
            thing = _resized(things[chosen] / 255.0, side)
            for _ in range(8):  # places; a thing that finds none is left out
                y, x = rng.integers(0, SIZE - side + 1, 2)
                part = (slice(y, y + side), slice(x, x + side))
                if not taken[part].any():
                    break
            else:
                continue
            there = thing > SEEN
            if not there.any():
                continue
            taken[part] = True
            group = GROUP[labels[chosen]]
            images[k][part] = np.where(there, thing, images[k][part])
            masks[k][part][there] = group
            rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
            corners = (x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1)
            boxes[k, j] = (*corners, group - 1)
            classes[k, labels[chosen]] = 1
    pixels = np.rint(255 * images.clip(0, 1)).astype(np.uint8)
    return Scenes(pixels, masks, boxes, classes)


def _ground(rng: np.random.Generator) -> np.ndarray:
    """An uneven dark ground: four corners of light, and grain."""
    corners = rng.uniform(0, 0.3, (2, 2))
    t = np.linspace(0, 1, SIZE)
    across = (1 - t)[:, None] * corners[0] + t[:, None] * corners[1]
    light = across[:, :1] * (1 - t) + across[:, 1:] * t
    return light + rng.normal(0, 0.02, (SIZE, SIZE))


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    """Bilinear, pixel centres aligned."""
    at = (np.arange(side) + 0.5) * len(image) / side - 0.5
    low = np.clip(np.floor(at).astype(int), 0, len(image) - 2)
    share = np.clip(at - low, 0, 1)
    rows = image[low] * (1 - share)[:, None] + image[low + 1] * share[:, None]
    return rows[:, low] * (1 - share) + rows[:, low + 1] * share
