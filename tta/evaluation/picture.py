"""Frames as small pictures, and arrays as PNG files: numpy and zlib alone."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from tta.records import Array
from tta.runtime.resize import resize

SIDE = 160  # longer side of a picture, in pixels
VIRIDIS = (  # ten even steps of the colour map; its lightness grows evenly, so it also reads in gray
    (68, 1, 84),
    (72, 40, 120),
    (62, 73, 137),
    (49, 104, 142),
    (38, 130, 142),
    (31, 158, 137),
    (53, 183, 121),
    (110, 206, 88),
    (181, 222, 43),
    (253, 231, 37),
)


def is_image(frame: Array) -> bool:
    """Whether a frame is a picture: (H, W), (H, W, 1) or (H, W, 3); else it is a window of signals."""
    if frame.ndim == 3:
        return frame.shape[2] in (1, 3)
    return frame.ndim == 2 and frame.dtype == np.uint8


def pixels(frame: Array, side: int = SIDE) -> Array:
    """A picture as uint8 ``(h, w)`` or ``(h, w, 3)``, made smaller until its longer side is at most ``side``.

    Real numbers count as 0..1, as in preprocessing.
    """
    planes = frame[..., None] if frame.ndim == 2 else frame
    light = planes.astype(np.float32) * (1.0 if frame.dtype == np.uint8 else 255.0)
    longer = max(light.shape[:2])
    if longer > side:
        height, width = (max(1, round(s * side / longer)) for s in light.shape[:2])
        upright = np.ascontiguousarray(light.transpose(2, 0, 1))
        small = resize(upright, (height, width), rounded=False, crop=(0, 0, height, width))
        light = small.transpose(1, 2, 0)
    out: Array = np.rint(light).clip(0, 255).astype(np.uint8)
    flat: Array = out[..., 0] if out.shape[2] == 1 else out
    return flat


def png(image: Array) -> bytes:
    r"""A PNG file of uint8 ``(h, w)`` or ``(h, w, 3)`` (W3C PNG specification, second edition).

    >>> png(np.zeros((1, 1), np.uint8))[:8]
    b'\x89PNG\r\n\x1a\n'
    """
    height, width = image.shape[:2]
    colour = 0 if image.ndim == 2 else 2
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    rows = np.ascontiguousarray(image).reshape(height, -1)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)  # filter 0: as it is
    data = zlib.compress(lines.tobytes(), 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", data)
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def data_uri(image: Array) -> str:
    """A picture that a page carries in itself."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def viridis(shares: Array) -> Array:
    """Colours ``(..., 3)`` uint8 of shares in 0..1; what is not finite is light gray."""
    anchors = np.array(VIRIDIS, np.float64)
    known = np.isfinite(shares)
    at = np.where(known, shares, 0).clip(0, 1) * (len(anchors) - 1)
    channels = [np.interp(at, np.arange(len(anchors)), anchors[:, c]) for c in range(3)]
    out: Array = np.stack(channels, -1).round().astype(np.uint8)
    out[~known] = 221
    return out


__all__ = ["data_uri", "is_image", "pixels", "png", "viridis"]
