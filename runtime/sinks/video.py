"""Writes a film of the run, each frame with its answer and drift level: ``video:out.avi?fps=15&scale=0``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from tta.errors import TtaError
from tta.records import Array, Result
from tta.runtime.answer import answered, in_words
from tta.runtime.extra import load_extra
from tta.runtime.frame_picture import levels

CODECS = {".avi": "MJPG", ".mp4": "mp4v", ".mkv": "MJPG"}
LEAST = 240  # pixels of the shorter side, for letters that can be read
COLOURS = {"ok": (90, 190, 60), "warn": (40, 180, 240), "drift": (60, 60, 230)}  # blue, green, red


class Video:
    """A film of pictures ``(H, W)`` or ``(H, W, 3)``; readings that are none are left out.

    Below the picture: number of the frame, answer with its confidence, drift level, what was decided last.

    Args:
        path: ``.avi`` or ``.mkv`` (motion JPEG, plays after a power cut), or ``.mp4``.
        fps: of the film.
        scale: times that a picture is enlarged; 0 for as often as its letters need.

    Raises:
        TtaError: the file cannot be written, or a number makes no sense.
        MissingExtraError: OpenCV is not installed.
    """

    pictures = True

    def __init__(self, path: str, *, fps: float = 15.0, scale: int = 0) -> None:
        self._path = Path(os.path.expanduser(path))
        if self._path.suffix.lower() not in CODECS:
            raise TtaError(f"video needs a file of {', '.join(CODECS)}, but was given {path!r}")
        if not os.path.isdir(self._path.parent):
            raise TtaError(
                f"the folder of {self._path} does not exist: mkdir -p {self._path.parent}"
            )
        if not 0 < fps < 1000 or scale < 0:
            raise TtaError(
                f"options of video: fps is above 0, scale 0 or more, not {fps:g}, {scale}"
            )
        self._cv2: Any = load_extra("camera", "video:", "cv2")
        self._fps, self._scale = fps, scale
        self._writer: Any = None
        self._shape: tuple[int, ...] = ()
        self._decided = ""
        self.left_out = 0

    def write(self, result: Result) -> None:
        """Add a frame.

        Raises:
            TtaError: the file cannot be written.
        """
        if result.report.decision is not None:
            self._decided = result.report.decision.action
        picture = levels(result.frame.data)
        if picture is None or not picture.size:
            self.left_out += 1
            return
        drawn = self._drawn(picture, result)
        if self._writer is None:
            self._open(drawn)
        if drawn.shape != self._shape:  # the picture's size changed in mid-stream
            drawn = self._cv2.resize(drawn, self._shape[1::-1])
        self._writer.write(drawn)

    def close(self) -> None:
        """Finish the file; a second time does nothing."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def _open(self, drawn: Array) -> None:
        code = self._cv2.VideoWriter_fourcc(*CODECS[self._path.suffix.lower()])
        size = drawn.shape[1], drawn.shape[0]
        self._writer = self._cv2.VideoWriter(str(self._path), code, self._fps, size)
        self._shape = drawn.shape
        if not self._writer.isOpened():
            self._writer = None
            raise TtaError(f"{self._path} cannot be written: no such codec here, or no permission")

    def _drawn(self, picture: Array, result: Result) -> Array:
        cv2 = self._cv2
        image = picture[..., ::-1] if picture.ndim == 3 else np.repeat(picture[..., None], 3, 2)
        times = self._scale or max(1, -(-LEAST // min(image.shape[:2])))
        height, width = (side * times + side * times % 2 for side in image.shape[:2])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
        strip = np.zeros((44, width, 3), np.uint8)
        found, level = result.prediction, result.report.level
        answer = f"skipped: {result.skipped}" if found is None else ""
        if found is not None and found.probabilities.size:
            answer = f"class {found.label}  {100 * found.confidence:.0f} %"
        elif found is not None:
            answer = in_words(answered(found))
        for row, text, colour in (
            (16, f"{result.stream} {result.frame.seq}  {answer}".strip(), (255, 255, 255)),
            (36, f"{level}  {self._decided}".strip(), COLOURS[level]),
        ):
            cv2.putText(
                strip, text, (4, row), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA
            )
        return np.concatenate([np.ascontiguousarray(image), strip])
