"""NORM vectors: made from statistics, applied as a device applies them, and inverted by the host.

Q15, for a sample x and a mean in steps: ``y = sat16((sat16(x - mean)·m + 2^(s-1)) >> s)``, a gain of ``m
/ 2^s`` with m in 2^14 .. 2^15-1. ``y·scale`` is the normalized reading ``(x - mean) / std``, so ``m /
2^s = 1 / (std·scale)``, and the host gets x back to half a step of y, that is ``std·scale / 2``, or half
a step of x, whichever is coarser.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from tta.firmware_bridge.messages import FLOAT32, INT16, Norm, Schema
from tta.records import Array

SCALE = 1 / 4096  # a normalized reading goes to 8 standard deviations, in steps of 1/4096 of one
LEAST_SHIFT, MOST_SHIFT = 9, 21
MOST_GAIN = 32.0


def make(epoch: int, mean: Array, std: Array, schema: Schema, scale: float | None = None) -> Norm:
    """The vector that normalizes channels of these statistics.

    Args:
        epoch: 1 to 255.
        mean: ``(C,)`` in units.
        std: ``(C,)`` in units, positive.
        schema: of the device; its scales turn units into steps.
        scale: what a step of the result is worth, for int16; by default 1/4096, or so much more as the
            least deviation needs to stay below the largest gain.

    Raises:
        ValueError: a channel's mean is no int16, or its gain is beyond what devices take, or its
            scale is not positive.
    """
    if not 1 <= epoch <= 255:
        raise ValueError(f"a norm's epoch is 1 to 255, but is {epoch}")
    if len(mean) != len(schema.channels) or len(std) != len(schema.channels):
        raise ValueError(f"{len(schema.channels)} channels have as many means and deviations")
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (np.asarray(std) > 0).all()):
        raise ValueError("means must be finite, deviations finite and positive")
    if schema.kind == FLOAT32:
        pairs = tuple((float(m), 1 / float(s)) for m, s in zip(mean, std))
        return Norm(epoch, FLOAT32, pairs, 1.0)
    if not all(c.scale > 0 for c in schema.channels):
        raise ValueError(
            "a channel whose steps are worth nothing, or less, has no fixed-point norm"
        )
    steps_of = np.array([c.scale for c in schema.channels])
    if scale is None:
        least = float((np.asarray(std) / steps_of).min())
        scale = max(SCALE, 2.0 ** math.ceil(-math.log2(MOST_GAIN * least)))
    triples = []
    for channel, m, s in zip(schema.channels, mean, std):
        steps = round(float(m) / channel.scale)
        gain, shift = _q15(channel.scale / (float(s) * scale))
        if not -32768 <= steps <= 32767:
            raise ValueError(f"mean {m:g} of channel {channel.name} is beyond its int16 samples")
        if not LEAST_SHIFT <= shift <= MOST_SHIFT:
            raise ValueError(f"deviation {s:g} of channel {channel.name} is beyond a gain's range")
        triples.append((steps, gain, shift))
    return Norm(epoch, INT16, tuple(triples), float(np.float32(scale)))


def _q15(gain: float) -> tuple[int, int]:
    shift = 14 - math.floor(math.log2(gain))
    mantissa = round(gain * 2.0**shift)
    return (mantissa, shift) if mantissa < 1 << 15 else (1 << 14, shift - 1)


def apply(norm: Norm, samples: Array) -> Array:
    """Samples ``(n, C)`` as a device sends them, bit for bit.

    >>> apply(Norm(1, INT16, ((100, 0x4000, 14),)), np.array([[103]], "<i2")).tolist()
    [[3]]
    """
    if not norm.epoch:
        return samples
    if norm.kind == FLOAT32:
        mean, gain = np.array(norm.channels, np.float32).T
        normal: Array = (samples.astype(np.float32) - mean) * gain
        return normal
    steps, gains, shifts = np.array(norm.channels, np.int64).T
    d = np.clip(samples.astype(np.int64) - steps, -32768, 32767)
    y = (d * gains + (1 << (shifts - 1))) >> shifts
    sent: Array = np.clip(y, -32768, 32767).astype("<i2")
    return sent


def affine(norm: Norm, schema: Schema) -> tuple[Array, Array]:
    """Gain and offset, ``(C,)`` float64, from the numbers in a DATA frame of this norm to readings in units.

    At epoch 0 the gain is the channels' scale.
    """
    scale = np.array([c.scale for c in schema.channels])
    if schema.kind == FLOAT32:
        scale = np.ones(len(scale))
    if not norm.epoch:
        return scale, np.zeros(len(scale))
    if norm.kind == FLOAT32:
        mean, gain = np.array(norm.channels, np.float64).T
        return 1 / np.float32(gain).astype(float), np.float32(mean).astype(float)
    steps, gains, shifts = np.array(norm.channels, np.float64).T
    return 2.0**shifts / gains * scale, steps * scale


def finest(norm: Norm, schema: Schema) -> Array:
    """One quantisation step of readings ``(C,)`` in units, the coarser of the samples' and the norm's."""
    gain, _ = affine(norm, schema)
    plain, _ = affine(Norm(0), schema)
    return np.maximum(gain, plain) if schema.kind == INT16 else np.zeros(len(gain))


def unpack_q15(vector: bytes) -> tuple[tuple[int, int, int], ...]:
    """Mean, gain and shift of each channel in a vector's bytes."""
    return tuple(struct.iter_unpack("<hHB3x", vector))
