"""Preprocessing of kind ``image``: a camera's picture becomes the model's normalised planes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tta.errors import BundleError, FrameError
from tta.manifest import InputSpec
from tta.records import Array, Frame
from tta.runtime.frame_array import affine, fits, reading, sample
from tta.runtime.resize import resize

_COLOURS = {"GRAY": 1, "RGB": 3}


class ImageInput:
    """Colour, resize, centre crop, then (x·scale - mean) / std, as ``(C, H, W)``.

    A frame is ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)``: uint8, or real numbers in 0..1, which
    count as x / 255. Colour to gray is ITU-R 601 luma, as Pillow's mode L; sizes and the crop are
    rounded as torchvision does.

    Args:
        spec: ``channels`` 1 or 3; ``colour`` GRAY or RGB; ``resize`` [h, w], the shorter side, or
            null; ``crop`` [h, w] or null; ``scale``, ``mean``, ``std``; ``layout`` CHW.
        input_spec: the model's input.
    """

    def __init__(self, spec: Mapping[str, Any], input_spec: InputSpec) -> None:
        self._input = input_spec
        self._channels = int(spec["channels"])
        colour = spec.get("colour") or {1: "GRAY", 3: "RGB"}.get(self._channels)
        if spec.get("layout", "CHW") != "CHW" or _COLOURS.get(str(colour)) != self._channels:
            raise BundleError(
                "the bundle's image preprocess must have layout CHW and 1 channel GRAY or 3 RGB, "
                f"but has {spec.get('layout')}, {self._channels} and {colour}: export again"
            )
        self._resize = _size(spec, "resize", scalar=True)
        self._crop = _size(spec, "crop", scalar=False)
        gain, offset = affine({"scale": 1 / 255, **spec}, self._channels)
        self._gain, self._offset = gain[:, None, None], offset[:, None, None]
        fixed = self._crop or (self._resize if isinstance(self._resize, tuple) else None)
        if not fits((self._channels, *(fixed or input_spec.sample[1:])), input_spec):
            raise BundleError(
                f"the bundle's preprocess makes images of {self._channels} channels and size "
                f"{fixed or 'as they come'}, but its model takes {input_spec.sample}: export again"
            )

    def reset(self) -> None:
        """Nothing to forget."""

    def __call__(self, frame: Frame) -> Array:
        """The model's sample; FrameError where the frame is no usable image."""
        image, exact = self._pixels(reading(frame), frame)
        if self._channels == 1 and image.shape[0] == 3:
            image = _luma(image, exact)
        height, width = image.shape[1:]
        size = self._target(height, width)
        crop = self._cut(size, frame)
        planes = resize(image, size, rounded=exact, crop=crop)
        if self._channels == 3 and planes.shape[0] == 1:
            planes = np.repeat(planes, 3, axis=0)
        return sample(planes * self._gain + self._offset, self._input, frame)

    def seen(self, height: int, width: int) -> tuple[float, float, float, float]:
        """The part of a picture of that size that becomes the input: top, left, bottom, right as shares."""
        size = self._target(height, width)
        top, left, high, wide = self._cut(size, Frame(np.zeros(0), 0.0, 0))
        return top / size[0], left / size[1], (top + high) / size[0], (left + wide) / size[1]

    def _pixels(self, data: Array, frame: Frame) -> tuple[Array, bool]:
        """Planes ``(C, H, W)`` float32 in 0..255, and whether they are whole numbers."""
        said = f"image frame {frame.seq} has shape {data.shape}"
        if data.ndim not in (2, 3):
            raise FrameError(f"{said}; expected (H, W) or (H, W, 3)")
        if data.ndim == 3 and data.shape[2] not in (1, 3):
            if data.shape[0] in (1, 3):
                raise FrameError(
                    f"{said}: its channels are first; expected (H, W, {data.shape[0]}), use "
                    "data.transpose(1, 2, 0)"
                )
            raise FrameError(f"{said}: {data.shape[2]} channels; expected 1 or 3, without alpha")
        planes = data[None] if data.ndim == 2 else data.transpose(2, 0, 1)
        if data.dtype == np.uint8:
            # Turning the axes before the type moves a quarter of the bytes.
            return np.ascontiguousarray(planes).astype(np.float32), True
        if data.dtype.kind != "f":
            raise FrameError(
                f"image frame {frame.seq} holds {data.dtype}; expected uint8, or real numbers "
                "in 0..1"
            )
        low, high = float(data.min()), float(data.max())
        if low < -1e-3 or high > 1 + 1e-3:
            raise FrameError(
                f"image frame {frame.seq} holds real numbers from {low:.3g} to {high:.3g}; "
                "expected 0..1, or uint8 for 0..255"
            )
        return np.ascontiguousarray(planes, np.float32) * np.float32(255), False

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if self._resize is None:
            return height, width
        if isinstance(self._resize, tuple):
            return self._resize
        if height <= width:
            return self._resize, max(1, int(self._resize * width / height))
        return max(1, int(self._resize * height / width)), self._resize

    def _cut(self, size: tuple[int, int], frame: Frame) -> tuple[int, int, int, int]:
        if self._crop is None:
            return 0, 0, *size
        if size[0] < self._crop[0] or size[1] < self._crop[1]:
            raise FrameError(
                f"image frame {frame.seq} is {size[0]}x{size[1]} where it is cropped; expected at "
                f"least {self._crop[0]}x{self._crop[1]}: use a larger picture"
            )
        top, left = (round((have - want) / 2) for have, want in zip(size, self._crop))
        return top, left, *self._crop


def _luma(planes: Array, exact: bool) -> Array:
    weights = np.array([19595, 38470, 7471], np.float32) / np.float32(65536)
    gray: Array = np.tensordot(weights, planes, axes=1)[None]
    return np.floor(gray + np.float32(0.5)) if exact else gray


def _size(spec: Mapping[str, Any], key: str, scalar: bool) -> Any:
    value = spec.get(key)
    if value is None:
        return None
    if scalar and isinstance(value, int) and value > 0:
        return value
    size = tuple(int(side) for side in value)
    if len(size) != 2 or min(size) < 1:
        raise BundleError(f"the bundle's preprocess has {key} {value}: export again")
    return size
