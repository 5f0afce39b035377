"""A folder for what a command writes, proved before anything runs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tta.errors import TtaError


def writable(out: str | Path, what: str = "") -> Path:
    """The folder, made where it is absent and proved writable.

    Args:
        out: its path; ``~`` is the user's home.
        what: is to be written, for the error.

    Raises:
        TtaError: it cannot be made or written.
    """
    folder = Path(os.path.expanduser(out))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise TtaError(
            f"cannot write {what + ' ' if what else ''}into {out}: {error.strerror}; name a folder of your "
            "own with --out"
        ) from error
    return folder
