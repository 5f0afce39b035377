"""Reads what ``tta run --record`` kept: frames with what was served for them."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.errors import BundleError, TtaError
from tta.records import Array, Frame
from tta.runtime.preprocess import build
from tta.runtime.recorder import about_recording, frame_files, stream_folder

_NEEDED = {
    "data",
    "output",
    "probabilities",
    "features",
    "entropy",
    "state",
    "seq",
    "t_s",
    "meta",
    "at",
}


@dataclass(frozen=True)
class Recorded:
    """One frame of a recording; its reading is read when it is asked for.

    Attributes:
        path: its file.
        stream: name of its stream.
        about: all that the file has but reading and input.
    """

    path: Path
    stream: str
    about: Mapping[str, Array]

    @property
    def name(self) -> str:
        """What tables call it: ``<folder of the stream>/<number>``."""
        return f"{self.path.parent.name}/{self.path.stem}"

    @property
    def seq(self) -> int:
        """Its number in its source."""
        return int(self.about["seq"])

    @property
    def t_s(self) -> float:
        """Its stream time."""
        return float(self.about["t_s"])

    @property
    def state(self) -> str:
        """Short hash of the state that answered it."""
        return str(self.about["state"])

    @property
    def confidence(self) -> float:
        """Of the answer served; nan where there are no probabilities."""
        p = self.about["probabilities"]
        return float(p.max()) if p.size else float("nan")

    @property
    def entropy(self) -> float:
        """Of the answer served, in nats."""
        return float(self.about["entropy"])

    @cached_property
    def answer(self) -> Array:
        """The answer served: probabilities ``(K,)`` where there are any, else the output."""
        p = self.about["probabilities"]
        return p if p.size else self.about["output"]

    @property
    def meta(self) -> dict[str, Any]:
        """What the source knew of it."""
        found: dict[str, Any] = json.loads(str(self.about["meta"]))
        return found

    def reading(self) -> Array:
        """The reading as it came."""
        with np.load(self.path, allow_pickle=False) as file:
            found: Array = file["data"]
            return found

    def frame(self) -> Frame:
        """The frame as its source gave it, for replay."""
        return Frame(self.reading(), self.t_s, self.seq, str(self.about["source"]), self.meta)


class Recording:
    """A folder that a ``Recorder`` wrote.

    Args:
        folder: its path.
        bundle: the bundle's path, where it is not where it was when the recording was made.

    Raises:
        TtaError: there is no recording, or the bundle is another.
    """

    def __init__(self, folder: str | Path, bundle: str | None = None) -> None:
        self.folder = Path(os.path.expanduser(folder))
        about = about_recording(self.folder)
        if about is None:
            raise TtaError(f"{folder} is no recording: tta run --record {folder} makes one")
        self.about: dict[str, Any] = about
        try:
            self.bundle = Bundle(bundle or str(about.get("bundle_path", "")))
        except BundleError as error:
            raise TtaError(f"{error}; say where it is now with --bundle") from error
        if self.bundle.hash != about["bundle"]:
            raise TtaError(
                f"{folder} was recorded with bundle {about['bundle'][:12]} ({about['model']}), but this is "
                f"{self.bundle.hash[:12]} ({self.bundle.manifest.name}): say which it was with --bundle"
            )
        self.damaged: list[str] = []

    def streams(self) -> list[str]:
        """Folders of the streams that have frames."""
        return sorted(p.name for p in self.folder.iterdir() if p.is_dir() and frame_files(p))

    def frames(self, stream: str | None = None) -> list[Recorded]:
        """Frames of a stream, oldest first; of all streams without its name.

        A file that cannot be read, as after a power cut, is left out and named in ``damaged``.
        """
        return list(self._frames(stream))

    def _frames(self, stream: str | None) -> Iterator[Recorded]:
        for name in self.streams() if stream is None else [stream]:
            for path in frame_files(stream_folder(self.folder, name)):
                try:
                    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                        about = {k: file[k] for k in file.files if k not in ("data", "x")}
                        whole = set(file.files) >= _NEEDED
                except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
                    whole = False
                if whole:
                    yield Recorded(path, str(about.get("stream", name)), about)
                else:
                    self.damaged.append(path.name)

    def input(self, recorded: Recorded) -> Array:
        """Its model input: the one that was kept, or the reading preprocessed again.

        Raises:
            FrameError: the reading is unusable.
        """
        with np.load(recorded.path, allow_pickle=False) as file:
            if "x" in file.files:
                kept: Array = file["x"]
                return kept
        manifest = self.bundle.manifest
        x = build(manifest.preprocess, manifest.input)(recorded.frame())
        if x is None:
            raise TtaError(f"{recorded.path} has no model input, and one reading makes none")
        return x


__all__ = ["Recorded", "Recording"]
