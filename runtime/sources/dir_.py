"""Images of a folder: ``dir://photos?recursive=true&loop=false&limit=100&fps=30``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import TracebackType

from tta.errors import MissingExtraError, SourceError
from tta.records import Frame
from tta.runtime.image_file import SUFFIXES, read_image


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

    Attributes:
        errors: damaged files so far.
        last_error: what was wrong with the last one.
    """

    live = False

    def __init__(
        self,
        path: str,
        *,
        recursive: bool = True,
        loop: bool = False,
        limit: int | None = None,
        fps: float = 30.0,
    ) -> None:
        if limit is not None and limit < 1:
            raise SourceError(f"option limit of dir:// must be at least 1, but is {limit}")
        if fps <= 0:
            raise SourceError(f"option fps of dir:// must be positive, but is {fps}")
        self._paths: list[Path] | None = None
        self._root = Path(os.path.expanduser(path))
        self._recursive, self._loop, self._limit, self._fps = recursive, loop, limit, fps
        self.errors = 0
        self.last_error = ""

    def __enter__(self) -> Dir:
        self._paths = self.paths()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._paths = None

    def __iter__(self) -> Iterator[Frame]:
        paths = self._paths or self.paths()
        read = 0
        for seq in count():
            if seq == self._limit or (seq == len(paths) and not self._loop):
                break
            if seq == len(paths) and not read:
                break  # a loop over damaged files only would never end
            path = paths[seq % len(paths)]
            try:
                data = read_image(path)
            except MissingExtraError:
                raise
            except Exception as error:  # decoders raise anything; one bad file is not the end
                self.errors += 1
                self.last_error = f"{path}: {error or type(error).__name__}"
                continue
            read += 1
            meta = {"path": str(path)}
            if name := self.label_name(path):
                meta["label_name"] = name
            yield Frame(data, seq / self._fps, seq, f"dir://{self._root}", meta)
        if not read:
            raise SourceError(
                f"none of the image files in {self._root} can be read; the last error was "
                f"{self.last_error}"
            )

    def label_name(self, path: Path) -> str:
        """Name of the topmost subfolder that a file lies in, empty where it lies in none."""
        inside = path.relative_to(self._root).parts
        return inside[0] if len(inside) > 1 else ""

    def paths(self) -> list[Path]:
        """The image files, in order.

        Raises:
            SourceError: there is no such folder, or it has no images.
        """
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
        found = [path for path in found if not any(p.startswith(".") for p in path.parts)]
        if not found:
            raise SourceError(
                f"the folder {self._root} has no images; expected files that end in "
                f"{' '.join(sorted(SUFFIXES))}"
            )
        return [self._root / path for path in sorted(found, key=lambda p: _natural(p.parts))]


def _natural(parts: tuple[str, ...]) -> list[list[str | int]]:
    # Splitting at digit runs puts text at even places and numbers at odd ones: always comparable.
    return [
        [int(p) if i % 2 else p.casefold() for i, p in enumerate(re.split(r"(\d+)", part))]
        for part in parts
    ]
