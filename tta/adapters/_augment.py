"""A strong view of a batch: moved, scaled, shifted in level, noisy; the same each time for the same seed."""

from __future__ import annotations

import numpy as np

from tta.records import Array


def strong_view(batch: Array, seed: int) -> Array:
    """Each sample ``(C, ...)`` with a random gain in 0.7..1.3, level, offset and noise; images also mirrored.

    Level and noise are in units of the batch's spread s: level uniform in ±0.2·s, noise of 0.05·s. Samples
    move by at most an eighth of each axis behind the first, edges repeated; samples without such an axis do
    not.
    """
    rng = np.random.default_rng(seed)
    spread = float(batch.std())
    out = np.empty_like(batch)
    for k, x in enumerate(batch):
        for axis in range(1, x.ndim):
            n = x.shape[axis]
            by = int(rng.integers(-(n // 8), n // 8 + 1))
            x = np.take(x, np.clip(np.arange(n) + by, 0, n - 1), axis)
        if x.ndim == 3 and rng.random() < 0.5:
            x = x[..., ::-1]
        gain, level = rng.uniform(0.7, 1.3), rng.uniform(-0.2, 0.2) * spread
        noise = 0.05 * spread * rng.standard_normal(x.shape)
        out[k] = x.mean() + gain * (x - x.mean()) + level + noise
    return out
