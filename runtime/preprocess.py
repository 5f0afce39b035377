"""Preprocessing: a frame becomes the model's sample, as the bundle's manifest says.

::

    {"kind": "image", "channels": 3, "layout": "CHW", "resize": 256, "crop": [224, 224],
     "scale": 0.00392156862745098, "mean": [...], "std": [...], "colour": "RGB"}
    {"kind": "window", "channels": 6, "length": 128, "hop": 64, "mean": [...], "std": [...]}
    {"kind": "none"}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from tta.errors import BundleError
from tta.manifest import InputSpec
from tta.records import Array, Frame
from tta.runtime.frame_array import reading, sample
from tta.runtime.image_input import ImageInput
from tta.runtime.window_input import WindowInput

_AFFINE = {"kind", "channels", "scale", "mean", "std"}
_KEYS = {
    "image": _AFFINE | {"layout", "resize", "crop", "colour"},
    "window": _AFFINE | {"length", "hop"},
    "none": {"kind"},
}


class Preprocess(Protocol):
    """Turns the frames of one stream into samples; it remembers the stream, so each has its own."""

    def __call__(self, frame: Frame) -> Array | None:
        """The model's sample in the shape and type of its input; None while a window fills.

        Raises:
            FrameError: the frame is unusable; the message says why.
        """

    def reset(self) -> None:
        """Forget the stream."""


class PlainInput:
    """Frames that already are samples: shape and type are checked, values pass."""

    def __init__(self, spec: Mapping[str, Any], input_spec: InputSpec) -> None:
        self._input = input_spec

    def reset(self) -> None:
        """Nothing to forget."""

    def __call__(self, frame: Frame) -> Array:
        """A copy of the frame's data; FrameError where they do not fit."""
        return sample(reading(frame), self._input, frame)


def build(spec: Mapping[str, Any], input_spec: InputSpec) -> Preprocess:
    """Preprocessing for one stream.

    Args:
        spec: ``manifest.preprocess``; see the module's docstring.
        input_spec: ``manifest.input``.

    Raises:
        BundleError: the two do not fit each other, or the first is malformed.

    >>> import numpy as np
    >>> window = build({"kind": "window", "channels": 1, "length": 3, "hop": 1},
    ...                InputSpec("x", (None, 1, 3)))
    >>> for seq in range(4):
    ...     print(window(Frame(np.array([seq]), t_s=seq / 50, seq=seq)))
    None
    None
    [[0. 1. 2.]]
    [[1. 2. 3.]]
    """
    kind = spec.get("kind")
    if kind not in _KEYS:
        raise BundleError(
            f"the bundle's preprocess has kind {kind!r}; expected {', '.join(_KEYS)}: upgrade "
            "tta-edge, or export again"
        )
    if unknown := sorted(spec.keys() - _KEYS[kind]):
        raise BundleError(
            f"the bundle's {kind} preprocess has unknown keys {', '.join(unknown)}: upgrade "
            "tta-edge, or export again"
        )
    made: Any = {"image": ImageInput, "window": WindowInput, "none": PlainInput}[kind]
    try:
        result: Preprocess = made(spec, input_spec)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"the bundle's {kind} preprocess is malformed ({error!r}): export again"
        ) from error
    return result
