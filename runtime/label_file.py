"""Labels of a recording's frames on the disk: ``labels.json`` in its folder, written whole at each change."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tta.errors import TtaError
from tta.runtime.store import put_whole

FORMAT, SCHEMA = "tta-labels", 1
TAGS = ("", "correct", "unclear", "minor", "major")


@dataclass(frozen=True, slots=True)
class Label:
    """What a person said of a frame.

    Attributes:
        target: class, 0 and 1 by class, or values.
        right: whether the served answer was.
        chosen: the frame was drawn by the rule, so that it counts for the accuracy.
        tag: of a review; empty before it.
    """

    target: Any
    right: bool
    chosen: bool = True
    tag: str = ""


class LabelFile:
    """The labels of one recording.

    Args:
        folder: of the recording.
        bundle: hash of its bundle.

    Raises:
        TtaError: the file is damaged, newer, or of another bundle.
    """

    def __init__(self, folder: Path, bundle: str) -> None:
        self.path, self._bundle = folder / "labels.json", bundle
        self.labels: dict[str, Label] = {}
        self.offered: list[str] = []
        self.skipped: list[str] = []
        if self.path.is_file():
            self._read()

    def waiting(self) -> list[str]:
        """Names of the frames offered that have neither a label nor been skipped."""
        return [k for k in self.offered if k not in self.labels and k not in self.skipped]

    def write(self) -> None:
        """Keep all as it is now.

        Raises:
            TtaError: the file cannot be written.
        """
        about = {
            "format": FORMAT,
            "schema": SCHEMA,
            "bundle": self._bundle,
            "offered": self.offered,
            "skipped": self.skipped,
            "labels": {k: asdict(v) for k, v in self.labels.items()},
        }
        try:
            put_whole(self.path, (json.dumps(about, indent=1) + "\n").encode())
        except OSError as error:
            raise TtaError(f"labels cannot be written to {self.path}: {error.strerror}") from error

    def _read(self) -> None:
        try:
            about = json.loads(self.path.read_text(encoding="utf-8"))
            if about["format"] != FORMAT or about["bundle"] != self._bundle:
                raise ValueError("it is of something else")
            newer = about["schema"] > SCHEMA
            if not newer:
                self.labels = {str(k): Label(**v) for k, v in about["labels"].items()}
                self.offered = [str(k) for k in about["offered"]]
                self.skipped = [str(k) for k in about["skipped"]]
            if any(v.tag not in TAGS for v in self.labels.values()):
                raise ValueError("a tag is unknown")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise TtaError(
                f"{self.path} holds no readable labels ({error}): move it away"
            ) from error
        if newer:
            raise TtaError(f"{self.path} has a newer schema than this tta reads: upgrade tta-edge")


__all__ = ["TAGS", "Label", "LabelFile"]
