"""Days and nights: gain, noise, colour, label mix and event rate move over 24 hours of stream time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tta.corruptions import find
from tta.records import Array
from tta.simulation import Segment, lay_out

DAY_S = 86400.0
_NIGHT = np.array([0.92, 0.97, 1.05], np.float32)  # colour of the light, red green blue
_DUSK = np.array([1.06, 0.98, 0.84], np.float32)


class Diurnal:
    """A day that repeats, and no change point in it; ``diurnal:8`` begins at eight in the morning.

    With daylight d(t) = 1 / (1 + exp(-5 sin(2π (h - 6) / 24))) at hour h: gain 0.55 + 0.45 d, noise
    σ 0.03 (1 - d) of white (of a sensor's standard deviation: 0.15 (1 - d), gain 0.9 + 0.1 d), warm
    light at dawn and dusk, an event rate of 0.1 + 0.9 d, and class k of K as frequent as
    exp(0.7 cos 2π (h / 24 - k / K)).

    A corruption comes on top, from ``onset`` (half the stream) on: it grows slowly where it can.
    """

    takes = "the hour at which the stream begins, 0 to 24"

    def __init__(self, hour: str = "8") -> None:
        self.hour = float(hour)
        if not 0 <= self.hour <= 24:
            raise ValueError(hour)

    def segments(
        self, frames: int, corruptions: Sequence[str], severity: float, onset: int | None
    ) -> list[Segment]:
        """Clean days, then days under each corruption."""
        parts = [((), 0.0), *(((name,), severity) for name in corruptions)]
        if onset is None and corruptions:
            onset = frames // 2
        return [
            replace(s, grows=bool(s.corruptions) and find(s.corruptions[0]).none is not None)
            for s in lay_out(parts, frames, onset)
        ]

    def hours(self, t_s: Array) -> Array:
        """Hour of the day, 0..24."""
        hours: Array = (self.hour + 24 * t_s / DAY_S) % 24
        return hours

    def daylight(self, t_s: Array) -> Array:
        """0 by night, 1 by day."""
        light: Array = 1 / (1 + np.exp(-5 * np.sin(2 * np.pi * (self.hours(t_s) - 6) / 24)))
        return light

    def event_rate(self, t_s: Array) -> Array:
        """Chance that a frame shows something new."""
        rate: Array = 0.1 + 0.9 * self.daylight(t_s)
        return rate

    def frequency(self, t_s: Array, label: Array, classes: int) -> Array:
        """How frequent a class is, compared with itself at its best hour."""
        phase = self.hours(t_s) / 24 - label / classes
        values: Array = np.exp(0.7 * (np.cos(2 * np.pi * phase) - 1))
        return values

    def ambient(
        self, readings: Array, t_s: Array, seed: int, numbers: Array, scale: Array | None = None
    ) -> Array:
        """Readings in the light of their hour.

        Args:
            readings: images ``(N, H, W)`` or ``(N, H, W, C)`` uint8, samples ``(N, C)`` or windows
                ``(N, C, T)``.
            t_s: ``(N,)`` stream time.
            seed: of the noise.
            numbers: ``(N,)`` number of each reading in the stream.
            scale: ``(C,)`` standard deviation of a sensor's channels; None for images.
        """
        day = self.daylight(t_s).astype(np.float32).reshape(-1, *[1] * (readings.ndim - 1))
        noise = np.empty(readings.shape, np.float32)
        for number, row in zip(numbers.tolist(), noise):
            generator = np.random.Generator(np.random.SFC64([seed, number, 2]))
            generator.standard_normal(dtype=np.float32, out=row)
        if scale is not None:
            spread = scale.reshape(-1, *[1] * (readings.ndim - 2))
            sensed = readings * (0.9 + 0.1 * day) + 0.15 * (1 - day) * spread * noise
            values: Array = sensed.astype(readings.dtype)
            return values
        gain = 0.55 + 0.45 * day
        if readings.ndim == 4 and readings.shape[3] == 3:
            dusk = 4 * day * (1 - day)
            gain = gain * ((day + (1 - day) * _NIGHT) * (1 - dusk) + dusk * _DUSK)
        lit = readings * gain + np.float32(255 * 0.03) * (1 - day) * noise
        values = np.rint(lit).clip(0, 255).astype(np.uint8)
        return values

    def arrange(
        self, items: Array, labels: Array | None, t_s: Array, rng: np.random.Generator
    ) -> Array:
        """Items as the day has them: rarely a new one by night, and each class at its hours.

        Args:
            items: ``(n,)`` in the stream's order, gone through again where they run out.
            labels: ``(count,)`` class of each item, or None.
            t_s: ``(n,)`` time of each frame.
            rng: where chance comes from.
        """
        new = rng.random(len(t_s)) < self.event_rate(t_s)
        classes = 1 if labels is None else int(labels.max()) + 1
        arranged = np.empty(len(t_s), int)
        at = 0
        for k in range(len(t_s)):
            if k and not new[k]:
                arranged[k] = arranged[k - 1]
                continue
            for _ in range(100):  # a rare class is let in at last
                item = items[at % len(items)]
                at += 1
                if labels is None:
                    break
                if rng.random() < self.frequency(t_s[k], labels[item], classes):
                    break
            arranged[k] = item
        return arranged
