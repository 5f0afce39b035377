"""tta: models that adapt on the device, online, without labels.

``import tta`` costs nothing; ``tta.Session`` and ``tta.run`` bring in numpy and onnxruntime on first use,
``tta.to_bundle`` torch and onnx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Bundle", "Session", "TtaError", "__version__", "run", "to_bundle"]

_WHERE = {
    "Bundle": "tta.bundle",
    "Session": "tta.runtime.dropin",
    "TtaError": "tta.errors",
    "run": "tta.runtime.loop",
    "to_bundle": "tta.export",
}

if TYPE_CHECKING:
    from tta.bundle import Bundle
    from tta.errors import TtaError
    from tta.export import to_bundle
    from tta.runtime.dropin import Session
    from tta.runtime.loop import run


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'tta' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_WHERE[name]), name)
