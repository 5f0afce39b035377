"""A camera: ``camera://0?width=640&height=480&fps=30``, ``v4l2:///dev/video0``, or just ``0``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from tta.errors import SourceError
from tta.records import Frame
from tta.runtime.extra import load_extra


class Camera:
    """A camera through OpenCV: ``(H, W, 3)`` RGB uint8, stamped when the frame was fetched.

    Args:
        device: its number or its path.
        width: asked of the camera in pixels; it may give another.
        height: likewise.
        fps: likewise, in frames per second.
    """

    live = True
    captured = True
    schemes = ("v4l2", "camera")

    def __init__(
        self,
        device: str = "0",
        *,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
    ) -> None:
        if not device.isdecimal() and not device.startswith("/"):
            raise SourceError(f"a camera is a number or a path such as /dev/video0, not {device!r}")
        self._device = device
        self._wishes = {
            "CAP_PROP_FRAME_WIDTH": width,
            "CAP_PROP_FRAME_HEIGHT": height,
            "CAP_PROP_FPS": fps,
        }
        self._capture: Any = None
        self._seq = 0

    def __enter__(self) -> Camera:
        self._capture = self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    def __iter__(self) -> Iterator[Frame]:
        if self._capture is None:
            raise SourceError(f"camera {self._device} is not open: use it in a with statement")
        cv2 = _cv2()
        while (capture := self._capture) is not None:
            ok, bgr = capture.read()
            now_s = time.monotonic()
            if not ok:
                if self._capture is None:
                    return  # closed meanwhile, by another thread
                raise SourceError(
                    f"camera {self._device} stopped delivering frames: is it still plugged in?"
                )
            seq, self._seq = self._seq, self._seq + 1
            yield Frame(
                cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), now_s, seq, f"camera://{self._device}"
            )

    def _open(self) -> Any:
        cv2 = _cv2()
        number = self._device.isdecimal()
        path = Path(f"/dev/video{self._device}" if number else self._device)
        linux = sys.platform.startswith("linux")
        if linux or not number:  # elsewhere a number is not a path
            _check(path)
        capture = cv2.VideoCapture(
            int(self._device) if number else self._device, cv2.CAP_V4L2 if linux else cv2.CAP_ANY
        )
        if not capture.isOpened():
            raise SourceError(
                f"camera {self._device} cannot be opened: it is in use by another program, or it "
                "is not a capture device (a camera often has two numbers; try the other)"
            )
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not the oldest unread one
        for name, value in self._wishes.items():
            if value is not None:
                capture.set(getattr(cv2, name), value)
        return capture


def _check(path: Path) -> None:
    if not os.path.exists(path):
        present = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
        raise SourceError(f"there is no camera at {path}; cameras present: {present}")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(
            f"no permission to use {path}: add yourself to the group video "
            "(sudo usermod -aG video $USER) and log in again"
        )


def _cv2() -> Any:
    return load_extra("camera", "camera://", "cv2")
