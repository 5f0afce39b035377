"""Loads an optional dependency at the moment that something needs it."""

from __future__ import annotations

import importlib
from typing import Any

from tta.errors import MissingExtraError, SourceError


def load_extra(extra: str, what: str, module: str) -> Any:
    """The module.

    Args:
        extra: name of the extra that installs it.
        what: what needs it, for the message.
        module: its import name.

    Raises:
        MissingExtraError: it is not installed.
        SourceError: it is installed, but does not load (a system library is missing).
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra, what, module) from error
    except ImportError as error:
        raise SourceError(
            f"{what} needs {module}, which is installed but does not load: {error}"
        ) from error
