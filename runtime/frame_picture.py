"""A reading as a picture: a PNG file, or characters for a terminal."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from tta.errors import TtaError
from tta.records import Array
from tta.runtime.store import put_whole

RAMP = " .:-=+*#%@"
COLUMNS = 56


def levels(reading: Array) -> Array | None:
    """Levels uint8 ``(H, W)`` or ``(H, W, 3)`` of an image; None for a reading that is none."""
    if reading.ndim not in (2, 3) or (reading.ndim == 3 and reading.shape[2] not in (1, 3)):
        return None
    image = reading[..., 0] if reading.ndim == 3 and reading.shape[2] == 1 else reading
    if image.dtype == np.uint8:
        return image
    known = np.nan_to_num(image.astype(np.float64))
    low, high = float(known.min()), float(known.max())
    found: Array = np.rint((known - low) * (255 / (high - low or 1))).astype(np.uint8)
    return found


def write_png(path: Path, image: Array) -> None:
    """Write levels as a PNG file (ISO/IEC 15948), without filters.

    Raises:
        TtaError: it cannot be written.
    """
    height, width = image.shape[:2]
    rows = np.ascontiguousarray(image).reshape(height, -1)
    body = np.concatenate([np.zeros((height, 1), np.uint8), rows], 1).tobytes()
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if image.ndim == 3 else 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        data += struct.pack(">I", len(content)) + kind + content + crc
    try:
        put_whole(path, data)
    except OSError as error:
        raise TtaError(f"the picture {path} cannot be written: {error.strerror}") from error


def drawn(reading: Array) -> str:
    """An image as characters, a level each; shape and range of another reading."""
    image = levels(reading)
    if image is None or not image.size:
        span = f", {np.nanmin(reading):.4g} to {np.nanmax(reading):.4g}" if reading.size else ""
        return f"reading {reading.dtype}{reading.shape}{span}"
    gray = image.astype(np.float64).reshape(*image.shape[:2], -1).mean(2)
    columns = min(COLUMNS, gray.shape[1])
    rows = max(1, round(gray.shape[0] * columns / gray.shape[1] / 2))  # characters are tall
    at = np.ix_(
        np.arange(rows) * gray.shape[0] // rows, np.arange(columns) * gray.shape[1] // columns
    )
    places = (gray[at] * (len(RAMP) - 1) / 255).round().astype(int)
    return "\n".join("".join(RAMP[k] for k in row).rstrip() for row in places)


__all__ = ["drawn", "levels", "write_png"]
