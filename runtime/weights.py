"""Maps a safetensors file into memory: pages that the system reads, shares and drops as it likes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tta.errors import BundleError
from tta.records import Array

_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "U8": "u1",
    "I8": "i1",
}


def mapped(path: Path) -> Mapping[str, Array]:
    """Read-only views of all tensors, by name; nothing is read before it is used.

    The file is 8 bytes with the header's length (little endian), the header in JSON, and the tensors.

    Raises:
        BundleError: it is no safetensors file.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(size))
        data = np.memmap(path, np.uint8, "r", offset=8 + size)
        found = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            start, end = entry["data_offsets"]
            kind, shape = np.dtype(_TYPES[entry["dtype"]]), tuple(entry["shape"])
            found[name] = np.frombuffer(data[start:end], kind).reshape(shape)
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path.name} cannot be read ({error}); copy the bundle again") from error
