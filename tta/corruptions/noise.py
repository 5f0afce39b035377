"""Noise of a sensor: Gaussian, shot, impulse, speckle.

After Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (ICLR 2019), with the constants of their CIFAR-10-C and ImageNet-C.
"""

from __future__ import annotations

import numpy as np

from tta.corruptions import Corruption
from tta.corruptions._draws import Draws
from tta.records import Array


def gaussian_noise(x: Array, sigma: float, draws: Draws) -> Array:
    """Low light, high gain: x + σ n."""
    noisy: Array = x + np.float32(sigma) * draws.normal(*x.shape[1:])
    return noisy


def shot_noise(x: Array, photons: float, draws: Draws) -> Array:
    """Light comes in photons: Poisson(c x) / c, where white is c photons."""
    noisy: Array = draws.poisson(x * np.float32(photons)) / np.float32(photons)
    return noisy


def impulse_noise(x: Array, share: float, draws: Draws) -> Array:
    """Bit errors: a share of the values becomes black or white, by even odds."""
    u = draws.uniform(*x.shape[1:])
    noisy: Array = np.where(u < share / 2, 0, np.where(u > 1 - share / 2, 1, x))
    return noisy.astype(np.float32)


def speckle_noise(x: Array, sigma: float, draws: Draws) -> Array:
    """Noise as strong as the light: x + x σ n."""
    noisy: Array = x + x * np.float32(sigma) * draws.normal(*x.shape[1:])
    return noisy


CORRUPTIONS = {
    "gaussian_noise": Corruption(
        gaussian_noise,
        small=(0.04, 0.06, 0.08, 0.09, 0.10),
        large=(0.08, 0.12, 0.18, 0.26, 0.38),
    ),
    "shot_noise": Corruption(shot_noise, small=(500, 250, 100, 75, 50), large=(60, 25, 12, 5, 3)),
    "impulse_noise": Corruption(
        impulse_noise,
        small=(0.01, 0.02, 0.03, 0.05, 0.07),
        large=(0.03, 0.06, 0.09, 0.17, 0.27),
    ),
    "speckle_noise": Corruption(
        speckle_noise,
        small=(0.06, 0.10, 0.12, 0.16, 0.20),
        large=(0.15, 0.20, 0.35, 0.45, 0.60),
        extra=True,
    ),
}
