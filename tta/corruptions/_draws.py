"""Random numbers of a batch that do not depend on how a stream is cut into batches."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tta.records import Array

_BLOCK = 256  # samples of a stream that are drawn together


class Draws:
    """What a corruption draws for some readings of a stream.

    Reading k has a generator of its own, made of the seed and k alone; what stays where it is over a
    whole stream (dirt on a lens) comes from ``scene``, made of the seed alone. So any chunk of a
    stream gets the same numbers as the whole stream.

    Args:
        seed: of the stream.
        numbers: ``(n,)``, the number of each reading in its stream.
        t_s: ``(n,)``, seconds since the fault began, of each reading.
        scale: ``(C,)``, standard deviation of each channel of a sensor; ones for images.
        stream: the batch is a stretch ``(1, C, T)`` of a stream of samples, numbered by ``numbers``.

    Attributes:
        n: readings in the batch.
    """

    def __init__(
        self, seed: int, numbers: Array, t_s: Array, scale: Array, stream: bool = False
    ) -> None:
        self.seed, self.numbers, self.t_s, self.scale = seed, numbers, t_s, scale
        self.stream, self.n = stream, 1 if stream else len(numbers)
        self._generators: list[np.random.Generator] = []

    @property
    def each(self) -> list[np.random.Generator]:
        """One generator an image; it goes on where the last draw ended."""
        if not self._generators:
            self._generators = [_generator(self.seed, k + 1) for k in self.numbers.tolist()]
        return self._generators

    def scene(self) -> np.random.Generator:
        """A generator that is the same for every image of the stream, at its beginning."""
        return _generator(self.seed, 0)

    def normal(self, *shape: int) -> Array:
        """Standard normal float32 ``(n, *shape)``."""
        out = np.empty((self.n, *shape), np.float32)
        for generator, row in zip(self.each, out):
            generator.standard_normal(dtype=np.float32, out=row)
        return out

    def uniform(self, *shape: int) -> Array:
        """Uniform float32 in 0..1, ``(n, *shape)``."""
        out = np.empty((self.n, *shape), np.float32)
        for generator, row in zip(self.each, out):
            generator.random(dtype=np.float32, out=row)
        return out

    def integers(self, low: int, high: int, *shape: int) -> Array:
        """Whole numbers in low..high - 1, ``(n, *shape)``."""
        drawn = [generator.integers(low, high, shape, np.int32) for generator in self.each]
        return np.stack(drawn)

    def poisson(self, rate: Array) -> Array:
        """Counts of these rates, ``(n, ...)`` float32."""
        out = np.empty(rate.shape, np.float32)
        for generator, row, lam in zip(self.each, out, rate):
            row[...] = generator.poisson(lam)
        return out

    def along(self, kind: Literal["normal", "uniform"], channels: int, length: int) -> Array:
        """Random float32 ``(n, channels, length)`` along time, the same however a stream is cut."""
        if not self.stream:
            drawn = self.normal if kind == "normal" else self.uniform
            return drawn(channels, length)
        blocks, which = np.unique(self.numbers // _BLOCK, return_inverse=True)
        parts = Draws(self.seed, blocks, self.t_s, self.scale)
        values: Array = parts.along(kind, _BLOCK, channels)[which, self.numbers % _BLOCK].T
        return values[None]


def _generator(seed: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64([seed, number]))
