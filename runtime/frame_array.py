"""The two ends of preprocessing: a frame's data as numbers, and numbers as the model's sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tta.errors import BundleError, FrameError
from tta.manifest import InputSpec
from tta.records import Array, Frame


def reading(frame: Frame) -> Array:
    """The frame's data, which are real numbers, finite, and at least one.

    Raises:
        FrameError: they are not.
    """
    try:
        data = np.asarray(frame.data)
    except ValueError as error:
        raise FrameError(f"frame {frame.seq} is no array: {error}") from error
    if data.dtype.kind not in "uif":
        raise FrameError(
            f"frame {frame.seq} holds {data.dtype} values; expected integers or real numbers"
        )
    if not data.size:
        raise FrameError(f"frame {frame.seq} is empty: its shape is {data.shape}")
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        bad = int(data.size - np.isfinite(data).sum())
        raise FrameError(f"frame {frame.seq} has {bad} values that are NaN or infinite")
    return data


def sample(array: Array, spec: InputSpec, frame: Frame) -> Array:
    """A copy of the array as the model's input type; its shape is the sample's.

    Raises:
        FrameError: another shape, or values that the type cannot hold.
    """
    if not fits(array.shape, spec):
        raise FrameError(
            f"frame {frame.seq} has shape {array.shape}, but the model takes {spec.sample}"
            + transposed(array.shape, spec.sample)
        )
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "ui" and array.dtype.kind == "f":
        raise FrameError(f"frame {frame.seq} has real numbers, but the model takes {dtype}")
    with np.errstate(over="ignore"):
        out = array.astype(dtype)
    if dtype.kind == "f" and not np.isfinite(out).all():
        raise FrameError(f"frame {frame.seq} has values too large for {dtype}")
    if dtype.kind in "ui" and not np.array_equal(out, array):
        raise FrameError(f"frame {frame.seq} has values outside the range of {dtype}")
    return out


def fits(shape: tuple[int | None, ...], spec: InputSpec) -> bool:
    """Whether a shape is that of a sample; None fits any size."""
    wanted = spec.sample
    return len(shape) == len(wanted) and all(b in (None, a) for a, b in zip(shape, wanted))


def transposed(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> str:
    """A clause for the message where only the order of axes is wrong, else nothing."""
    if len(shape) == len(wanted) == 2 and _same(shape[::-1], wanted):
        return ": the axes are swapped, transpose it"
    if len(shape) == len(wanted) == 3:
        if _same((shape[2], shape[0], shape[1]), wanted):
            return ": the channels are last, use data.transpose(2, 0, 1)"
        if _same((shape[1], shape[2], shape[0]), wanted):
            return ": the channels are first, use data.transpose(1, 2, 0)"
    return ""


def _same(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return all(b in (None, a) for a, b in zip(shape, wanted)) and any(b for b in wanted)


def affine(spec: Mapping[str, Any], channels: int) -> tuple[Array, Array]:
    """Per-channel ``gain`` and ``offset``, ``(C,)``, with x·gain + offset = (x·scale - mean) / std.

    Raises:
        BundleError: ``mean`` or ``std`` is not of C finite numbers, or a std is not positive.
    """
    mean = np.array(spec.get("mean") or [0.0] * channels, np.float64)
    std = np.array(spec.get("std") or [1.0] * channels, np.float64)
    scale = float(spec.get("scale", 1.0))
    usable = mean.shape == std.shape == (channels,) and np.isfinite([mean, std]).all()
    if not usable or (std <= 0).any() or not np.isfinite(scale):
        raise BundleError(
            f"the bundle's preprocess needs {channels} finite numbers as mean, and as many "
            f"positive ones as std, not {spec.get('mean')} and {spec.get('std')}: export again"
        )
    return (scale / std).astype(np.float32), (-mean / std).astype(np.float32)
