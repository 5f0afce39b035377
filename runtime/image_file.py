"""Reads one image or array file: numpy arrays and netpbm by itself, all else through Pillow."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tta.errors import SourceError
from tta.records import Array
from tta.runtime.extra import load_extra

_NATIVE = frozenset({".npy", ".pgm", ".ppm", ".pnm"})
PILLOW = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif"})
SUFFIXES = _NATIVE | PILLOW
_SPACE = rb"(?:\s|#[^\n]*\n)+"
_NETPBM = re.compile(
    rb"P([2356])" + _SPACE + rb"(\d{1,6})" + _SPACE + rb"(\d{1,6})" + _SPACE + rb"(\d{1,5})\s"
)


def read_image(path: Path) -> Array:
    """The content of a file: ``(H, W)`` gray or ``(H, W, 3)`` RGB, or whatever a .npy file holds.

    Orientation tags are not applied: the image loaders that models are trained with do not either.

    Raises:
        MissingExtraError: the format needs Pillow.
        Exception: of any kind where the file is damaged: decoders raise what they like.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        array: Array = np.load(path, allow_pickle=False)
        return array
    if suffix in _NATIVE:
        return read_netpbm(path.read_bytes())
    image_module = load_extra("images", f"a {suffix} image", "PIL.Image")
    with image_module.open(path) as image:
        if image.mode in ("L", "RGB") or image.mode.startswith(("I", "F")):
            return np.array(image)
        return np.array(image.convert("L" if image.mode == "1" else "RGB"))


def read_netpbm(content: bytes) -> Array:
    r"""Decode a gray (P2, P5) or colour (P3, P6) map; uint8, or uint16 above 255 levels.

    >>> read_netpbm(b"P5 # made by hand\n2 1 255\n\x00\xff").tolist()
    [[0, 255]]
    """
    match = _NETPBM.match(content)
    if match is None:
        raise SourceError("not a netpbm image of type P2, P3, P5 or P6")
    kind, width, height, top = (int(group) for group in match.groups())
    shape = (height, width, 3) if kind in (3, 6) else (height, width)
    count = int(np.prod(shape))
    if count == 0 or not 0 < top < 65536:
        raise SourceError(f"a netpbm image of {width}x{height} pixels and {top} levels is empty")
    dtype = np.dtype(np.uint8 if top < 256 else ">u2")
    body = content[match.end() :]
    if kind in (2, 3):
        values: Array = np.array([int(word) for word in body.split()[:count]], dtype)
    else:
        values = np.frombuffer(body[: count * dtype.itemsize], dtype)
    if values.size < count:
        raise SourceError(f"the netpbm image is cut off: {values.size} of {count} values are there")
    image = values.reshape(shape)
    if dtype.itemsize == 2:
        return image.astype(np.uint16)
    return image if top == 255 else np.rint(image * (255.0 / top)).clip(0, 255).astype(np.uint8)
