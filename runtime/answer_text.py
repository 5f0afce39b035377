"""Answers as people read and type them: a class, several, or values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tta.errors import TtaError
from tta.manifest import Manifest
from tta.records import Array

NONE = "-"  # no class at all, of a multilabel answer


def told(manifest: Manifest, target: Any) -> str:
    """A target in words: names of classes, or values."""
    if manifest.task == "classify":
        return _name(manifest, int(target))
    if manifest.task == "multilabel":
        return ",".join(_name(manifest, int(k)) for k in np.flatnonzero(target)) or NONE
    return ",".join(f"{v:.6g}" for v in np.asarray(target, float).reshape(-1))


def typed(manifest: Manifest, text: str) -> Any:
    """The target that was typed: a class by name or number, ``a,b`` or ``-`` for several, or values.

    Raises:
        TtaError: there is no such class, or it is not as many numbers as there are outputs.
    """
    parts = [part.strip() for part in text.split(",")]
    if manifest.task == "classify":
        return _class(manifest, text.strip())
    if manifest.task == "multilabel":
        chosen = set() if parts == [NONE] else {_class(manifest, part) for part in parts}
        return [int(k in chosen) for k in range(_width(manifest))]
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) != _width(manifest) or not all(map(math.isfinite, values)):
        raise TtaError(
            f"{manifest.name} answers with {_width(manifest)} numbers a,b,…, but {text!r} is given"
        )
    return values


def guessed(manifest: Manifest, output: Array) -> Any:
    """The target that the primary output means."""
    if manifest.task == "classify":
        return int(output.argmax())
    if manifest.task == "multilabel":
        return [int(v > 0) for v in output.reshape(-1)]
    return [float(v) for v in output.reshape(-1)]


def _width(manifest: Manifest) -> int:
    return math.prod(int(n or 1) for n in manifest.outputs[manifest.primary])


def _name(manifest: Manifest, k: int) -> str:
    return manifest.labels[k] if k < len(manifest.labels) else str(k)


def _class(manifest: Manifest, text: str) -> int:
    names = [_name(manifest, k) for k in range(_width(manifest))]
    if text in names:
        return names.index(text)
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    raise TtaError(f"{manifest.name} has no class {text!r}: name one of {shown}, or its number")


__all__ = ["guessed", "told", "typed"]
