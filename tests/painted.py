"""Pictures that tests corrupt."""

from importlib.resources import files

import numpy as np


def painted(n, side, seed=0):
    """Colourful pictures with smooth shading, edges and texture, ``(n, side, side, 3)``."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    pictures = np.empty((n, side, side, 3))
    for picture in pictures:
        slope = rng.uniform(-60, 60, (2, 3))
        picture[:] = (
            rng.uniform(70, 180, 3) + rows[..., None] * slope[0] + columns[..., None] * slope[1]
        )
        for _ in range(6):
            at, radius = rng.uniform(0.1, 0.9, 2), rng.uniform(0.08, 0.25)
            inside = np.hypot(rows - at[0], columns - at[1]) < radius
            picture[inside] = rng.uniform(10, 245, 3)
        picture += 12 * np.sin(2 * np.pi * 7 * (rows + rng.uniform() * columns))[..., None]
    return np.rint(pictures).clip(0, 255).astype(np.uint8)


def fashion(n):
    """Gray pictures of 28x28 out of those that come with the package."""
    with np.load(str(files("tta.demo") / "fashion_test.npz")) as data:
        return data["images"][:n]
