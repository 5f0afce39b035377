"""Images of a folder: ``dir://photos?recursive=true&loop=false&limit=100&fps=30``, or ``?watch=true``."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import TracebackType

from tta.errors import MissingExtraError, SourceError
from tta.records import Frame
from tta.runtime.image_file import SUFFIXES, read_image
from tta.runtime.pulse import beat

_LOOK_S = 0.2  # between two looks at a watched folder


class Dir:
    """The image files of a folder in natural order (``img2`` before ``img10``).

    Frames are ``(H, W)`` or ``(H, W, 3)`` uint8, or what a .npy file holds. ``meta`` has the
    ``path``, and for files in a subfolder the name of the topmost one as ``label_name``. A damaged
    file is left out and counted, and leaves a gap in the sequence numbers.

    Args:
        path: the folder.
        recursive: look into subfolders too; hidden files and folders are never read.
        loop: begin again at the end.
        limit: stop after so many files.
        fps: time stamps are sequence number / fps seconds.
        watch: the files that appear or are written again from now on, in the order in which they were
            written, until the source is closed or ``limit``. A file is read once its size has stood still
            between two looks, 0.2 s apart, and stamped when it was read.

    Attributes:
        errors: damaged files so far.
        last_error: what was wrong with the last one.
    """

    def __init__(
        self,
        path: str,
        *,
        recursive: bool = True,
        loop: bool = False,
        limit: int | None = None,
        fps: float = 30.0,
        watch: bool = False,
    ) -> None:
        if limit is not None and limit < 1:
            raise SourceError(f"option limit of dir:// must be at least 1, but is {limit}")
        if fps <= 0:
            raise SourceError(f"option fps of dir:// must be positive, but is {fps}")
        if watch and loop:
            raise SourceError("options watch and loop of dir:// exclude each other")
        self.live = watch
        self._closed = False
        self._paths: list[Path] | None = None
        self._root = Path(os.path.expanduser(path))
        self._recursive, self._loop, self._limit, self._fps = recursive, loop, limit, fps
        self._known: dict[Path, tuple[int, int]] = {}
        self.errors = 0
        self.last_error = ""

    def __enter__(self) -> Dir:
        self._closed = False
        self._paths = None if self.live else self.paths()
        self._known = self._written() if self.live else {}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._paths = None
        self.close()

    def close(self) -> None:
        """End a watch, from any thread."""
        self._closed = True

    def __iter__(self) -> Iterator[Frame]:
        if self.live:
            yield from self._watch()
            return
        paths = self._paths or self.paths()
        read = 0
        for seq in count():
            if seq == self._limit or (seq == len(paths) and not self._loop):
                break
            if seq == len(paths) and not read:
                break  # a loop over damaged files only would never end
            path = paths[seq % len(paths)]
            frame = self._frame(path, seq, seq / self._fps)
            if frame is not None:
                read += 1
                yield frame
        if not read:
            raise SourceError(
                f"none of the image files in {self._root} can be read; the last error was "
                f"{self.last_error}"
            )

    def _frame(self, path: Path, seq: int, t_s: float) -> Frame | None:
        try:
            data = read_image(path)
        except MissingExtraError:
            raise
        except Exception as error:  # decoders raise anything; one bad file is not the end
            self.errors += 1
            self.last_error = f"{path}: {error or type(error).__name__}"
            return None
        meta = {"path": str(path)}
        if name := self.label_name(path):
            meta["label_name"] = name
        return Frame(data, t_s, seq, f"dir://{self._root}", meta)

    def _watch(self) -> Iterator[Frame]:
        seq = 0
        growing: dict[Path, tuple[int, int]] = {}
        while not self._closed:
            seen = self._written()
            new = [path for path, kind in seen.items() if self._known.get(path) != kind]
            ready = [path for path in new if growing.get(path) == seen[path]]
            for path in sorted(ready, key=lambda path: (seen[path], path)):
                self._known[path] = seen[path]
                frame = self._frame(path, seq, time.monotonic())
                seq += 1
                if frame is not None:
                    yield frame
                if seq == self._limit or self._closed:
                    return
            self._known = {path: kind for path, kind in self._known.items() if path in seen}
            growing = {path: seen[path] for path in new}
            beat()
            time.sleep(_LOOK_S)

    def _written(self) -> dict[Path, tuple[int, int]]:
        """When each image was written, in ns, and its size."""
        found = {}
        for path in self._listed():
            with contextlib.suppress(OSError):  # gone meanwhile
                at = (self._root / path).stat()
                found[self._root / path] = at.st_mtime_ns, at.st_size
        return found

    def label_name(self, path: Path) -> str:
        """Name of the topmost subfolder that a file lies in, empty where it lies in none."""
        inside = path.relative_to(self._root).parts
        return inside[0] if len(inside) > 1 else ""

    def paths(self) -> list[Path]:
        """The image files, in order.

        Raises:
            SourceError: there is no such folder, or it has no images.
        """
        found = self._listed()
        if not found:
            raise SourceError(
                f"the folder {self._root} has no images; expected files that end in "
                f"{' '.join(sorted(SUFFIXES))}"
            )
        return [self._root / path for path in sorted(found, key=lambda p: _natural(p.parts))]

    def _listed(self) -> list[Path]:
        if not os.path.isdir(self._root):
            what = "is not a folder" if os.path.exists(self._root) else "does not exist"
            raise SourceError(f"dir:// needs a folder, but {self._root} {what}")
        try:
            found = [
                path.relative_to(self._root)
                for path in self._root.glob("**/*" if self._recursive else "*")
                if path.suffix.lower() in SUFFIXES and os.path.isfile(path)
            ]
        except OSError as error:
            raise SourceError(f"folder {self._root} cannot be listed: {error.strerror}") from error
        return [path for path in found if not any(p.startswith(".") for p in path.parts)]


def _natural(parts: tuple[str, ...]) -> list[list[str | int]]:
    # Splitting at digit runs puts text at even places and numbers at odd ones: always comparable.
    return [
        [int(p) if i % 2 else p.casefold() for i, p in enumerate(re.split(r"(\d+)", part))]
        for part in parts
    ]
