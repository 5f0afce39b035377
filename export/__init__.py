"""Export: a trained model becomes a bundle.

::

    trace | read ─> canonical ─> lift ─> graphs (forward, gradient) ─> calibrate ─> verify ─> write

``to_bundle`` is that line as a function; this package is the only one that imports torch and onnx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if __name__ != "tta.export":
    raise ImportError("import tta.export, not export")

if TYPE_CHECKING:
    from tta.export.assembly import to_bundle

__all__ = ["to_bundle"]


def __getattr__(name: str) -> Any:
    if name == "to_bundle":
        import importlib

        return importlib.import_module("tta.export.assembly").to_bundle
    raise AttributeError(f"module 'tta.export' has no attribute {name!r}")
