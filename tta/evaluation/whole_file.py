"""Files of a results folder, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tta.errors import TtaError
from tta.records import Array


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file; its folder is made where it is absent.

    Raises:
        TtaError: it cannot be written.
    """
    _whole(path, lambda scratch: scratch.write_bytes(data))


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write a compressed ``.npz``; see ``write_bytes``."""
    named: dict[str, Any] = dict(arrays)
    _whole(path, lambda scratch: np.savez_compressed(scratch, **named))


def _whole(path: Path, write: Callable[[Path], object]) -> None:
    scratch = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(scratch)
        os.replace(scratch, path)
    except OSError as error:
        raise TtaError(f"{path} cannot be written: {error.strerror or error}") from error


__all__ = ["write_arrays", "write_bytes"]
