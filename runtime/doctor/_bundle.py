"""The bundle that is examined, opened and hashed once for all checks."""

from __future__ import annotations

import functools

from tta.bundle import Bundle
from tta.devices.finding import Subject
from tta.errors import BundleError


@functools.lru_cache(maxsize=1)
def _open(path: str) -> Bundle:
    return Bundle(path)


def opened(subject: Subject) -> Bundle | None:
    """The bundle; None where none was named, or the check ``bundle`` complains of it."""
    try:
        return _open(subject.bundle) if subject.bundle else None
    except (BundleError, OSError):
        return None
