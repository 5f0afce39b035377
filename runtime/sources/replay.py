"""Recorded frames as they came: ``replay://DIR?stream=stream-0``, of ``tta run --record DIR``."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from tta.errors import SourceError
from tta.records import Frame
from tta.runtime.recorder import frame_files


class Replay:
    """The frames of one stream of a recording, oldest first, with their numbers and time stamps.

    Args:
        path: folder of the recording.
        stream: folder of the stream; it may be left out where there is one.
    """

    live = False

    def __init__(self, path: str, *, stream: str | None = None) -> None:
        self._folder, self._stream = Path(os.path.expanduser(path)), stream
        self._files: list[Path] = []

    def __enter__(self) -> Replay:
        found = {p.name: p for p in self._folder.glob("*") if p.is_dir() and frame_files(p)}
        name = self._stream or (next(iter(found)) if len(found) == 1 else "")
        if name not in found:
            streams = ", ".join(sorted(found)) or "no stream"
            raise SourceError(
                f"{self._folder} has frames of {streams}: replay a folder of tta run --record, and name "
                "one stream with ?stream="
            )
        self._files = frame_files(found[name])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files = []

    def __iter__(self) -> Iterator[Frame]:
        self.__enter__()
        for path in self._files:
            try:
                with np.load(path, allow_pickle=False) as file:
                    t_s, seq = float(file["t_s"]), int(file["seq"])
                    meta, source = json.loads(str(file["meta"])), str(file["source"])
                    frame = Frame(file["data"], t_s, seq, source, meta)
            except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
                raise SourceError(
                    f"the recorded frame {path} cannot be read ({error}): remove it"
                ) from error
            yield frame
