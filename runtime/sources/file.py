"""A video or image file: ``file://clip.mp4?loop=false&limit=100``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from tta.errors import SourceError, TtaError
from tta.records import Array, Frame
from tta.runtime.extra import load_extra
from tta.runtime.image_file import SUFFIXES, read_image

_FPS = 30.0  # of a clip that does not say


class File:
    """The frames of a video, ``(H, W, 3)`` RGB uint8, with the clip's time stamps; or one image.

    Args:
        path: the file; the suffix tells an image from a video.
        loop: begin again at the end; time goes on.
        limit: stop after so many frames.
    """

    live = False

    def __init__(self, path: str, *, loop: bool = False, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise SourceError(f"option limit of file:// must be at least 1, but is {limit}")
        self._path = Path(os.path.expanduser(path))
        self._loop, self._limit = loop, limit
        self._capture: Any = None

    def __enter__(self) -> File:
        if not os.path.isfile(self._path):
            what = "is a folder: use dir://" if os.path.isdir(self._path) else "does not exist"
            raise SourceError(f"file:// needs a file, but {self._path} {what}")
        if self._path.suffix.lower() not in SUFFIXES:
            self._capture = self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    def __iter__(self) -> Iterator[Frame]:
        seq, start_s, last_s, period_s = 0, 0.0, -1.0, 1 / _FPS
        while True:
            before = seq
            for clip_s, step_s, data in self._once():
                if seq == self._limit:
                    return
                # Some containers have no time stamps, or ones that stand still; time must not.
                period_s = step_s
                t_s = start_s + clip_s
                last_s = t_s if t_s > last_s else last_s + period_s
                yield Frame(data, last_s, seq, f"file://{self._path}", {"path": str(self._path)})
                seq += 1
            if seq == before:
                raise SourceError(f"{self._path} has no frame that can be decoded")
            if not self._loop:
                return
            start_s = last_s + period_s

    def _once(self) -> Iterator[tuple[float, float, Array]]:
        """Time in the clip, time between frames, and pixels of each frame of one pass."""
        if self._path.suffix.lower() in SUFFIXES:
            yield 0.0, 1 / _FPS, self._image()
            return
        cv2 = _cv2()
        capture = self._capture or self._open()
        self._capture = capture
        try:
            fps = float(capture.get(cv2.CAP_PROP_FPS))
            step_s = 1 / fps if 0 < fps < 1e4 else 1 / _FPS
            while True:
                ok, bgr = capture.read()
                if not ok:
                    return
                at_s = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
                yield at_s, step_s, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        finally:
            self._release()

    def _image(self) -> Array:
        try:
            return read_image(self._path)
        except TtaError:
            raise
        except Exception as error:  # decoders raise anything
            raise SourceError(f"{self._path} is not a readable image: {error}") from error

    def _open(self) -> Any:
        capture = _cv2().VideoCapture(str(self._path))
        if not capture.isOpened():
            raise SourceError(
                f"{self._path} is not a video that OpenCV can decode, nor an image that ends in "
                f"{' '.join(sorted(SUFFIXES))}"
            )
        return capture

    def _release(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()


def _cv2() -> Any:
    return load_extra("camera", "file:// video", "cv2")
