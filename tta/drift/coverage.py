"""How much of the input the first filters do not see."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tta.drift._moving import MovingScore
from tta.drift._reference import reference
from tta.manifest import Manifest
from tta.records import Array, View

SIDE = 3  # of a patch, in pixels or in samples over time
PATCHES = 64  # a block
FITTED = 64  # a frame, when the filters are found
TURNS = 4  # sets of places that take turns


class Coverage(MovingScore):
    """Share of the input's patch variance outside the span of the source's leading patch filters, 0 to 1.

    1 - tr(VᵀCV)/tr(C), with C the covariance of 3x3 patches over all channels and V its leading half of
    directions on the source: what principal-component filters leave over, Σ_{j>K} λ_j / Σ λ_j (Hirani &
    Abdulla, "On filter design in deep convolutional neural networks", 2024). It needs no model: fine noise
    raises it, blur lowers it, brightness and contrast do not move it. The moving average weighs each frame
    λ = 0.05.
    """

    def __init__(
        self, manifest: Manifest, calibration: Mapping[str, Array], weight: float = 0.05
    ) -> None:
        filters = reference(calibration, "coverage").get("filters")
        self._filters = None if filters is None else np.asarray(filters, np.float32)
        super().__init__(manifest, calibration, weight)
        self._places: dict[tuple[int, ...], Array] = {}
        self._turn = 0

    @staticmethod
    def reference(view: View, targets: Array | None) -> dict[str, Array]:
        """Leading half of the patch covariance's directions, ``(d, d // 2)``."""
        inputs = view.inputs
        if inputs.ndim < 3 or min(inputs.shape[2:]) < SIDE or not len(inputs):
            return {}
        where = places(inputs.shape[1:], FITTED, np.random.default_rng(0))
        patches = inputs.reshape(len(inputs), -1)[:, where].reshape(-1, where.shape[1])
        centred = patches - patches.mean(0)
        covariance = (centred.T @ centred) / len(centred)
        _, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
        return {
            "filters": np.ascontiguousarray(vectors[:, ::-1][:, : len(vectors) // 2], np.float32)
        }

    def observe(self, view: View) -> None:
        """Take in patches of the frames' inputs."""
        inputs, filters = view.inputs, self._filters
        if filters is None or not len(inputs):
            return
        where = self._where(inputs.shape)
        if where.shape[1] % len(filters):  # inputs of another shape than at export
            return
        self._turn = (self._turn + 1) % len(where)
        centred = inputs.ravel().take(where[self._turn]).reshape(-1, len(filters))
        centred -= np.add.reduce(centred, 0) / np.float32(len(centred))
        total = float(np.vdot(centred, centred))
        if not total > 0 or not math.isfinite(total):
            return
        seen = centred @ filters
        self._follow(1.0 - float(np.vdot(seen, seen)) / total, len(view))

    def reset(self) -> None:
        """Forget the stream."""
        super().reset()
        self._turn = 0

    def _where(self, shape: tuple[int, ...]) -> Array:
        """Indices ``(turns, m·patches·d)`` into all inputs, flat: each turn looks elsewhere."""
        if shape not in self._places:
            rng, each = np.random.default_rng(0), max(1, PATCHES // shape[0])
            found = places(shape[1:], TURNS * shape[0] * each, rng)
            found = found.reshape(TURNS, shape[0], -1)
            found += (np.arange(shape[0]) * math.prod(shape[1:]))[:, None]
            self._places[shape] = found.reshape(TURNS, -1)
        return self._places[shape]


def places(sample: tuple[int, ...], count: int, rng: np.random.Generator) -> Array:
    """Flat indices ``(count, d)`` of random patches in a sample ``(C, H, W)`` or ``(C, T)``.

    >>> places((1, 3, 3), 1, np.random.default_rng(0)).tolist()
    [[0, 1, 2, 3, 4, 5, 6, 7, 8]]
    """
    grid = np.arange(math.prod(sample)).reshape(sample)
    axes = tuple(range(1, len(sample)))
    windows = np.lib.stride_tricks.sliding_window_view(grid, (SIDE,) * len(axes), axes)
    flat = np.moveaxis(windows, 0, len(axes)).reshape(-1, sample[0] * SIDE ** len(axes))
    return flat[rng.integers(0, len(flat), count)]
