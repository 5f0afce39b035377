"""A network camera: ``rtsp://user:password@10.0.0.7:554/stream?transport=tcp&deadline_s=5``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from tta.errors import SourceError
from tta.records import Frame
from tta.runtime.extra import load_extra
from tta.runtime.redaction import redact


class Rtsp:
    """An RTSP stream through OpenCV's FFmpeg: ``(H, W, 3)`` RGB uint8, stamped when it was decoded.

    Args:
        url: the camera's address, with all of its query that is no option.
        transport: ``tcp``, or ``udp``, which loses packets rather than waiting for them.
        timeout_s: of opening and reading, inside FFmpeg; capture's own deadlines hold beside it.
    """

    live = True
    captured = True
    address = True
    schemes = ("rtsp", "rtsps")

    def __init__(self, url: str, *, transport: str = "tcp", timeout_s: float = 10.0) -> None:
        if not url.partition("://")[2].strip("/"):
            raise SourceError("rtsp:// needs a camera, as in rtsp://10.0.0.7:554/stream")
        if transport not in ("tcp", "udp"):
            raise SourceError(f"option transport of rtsp:// is tcp or udp, but is {transport!r}")
        if timeout_s <= 0:
            raise SourceError("option timeout_s of rtsp:// must be positive")
        self._url, self._name = url, redact(url)
        self._transport, self._timeout_ms = transport, int(timeout_s * 1000)
        self._capture: Any = None

    def __enter__(self) -> Rtsp:
        cv2 = load_extra("camera", "rtsp://", "cv2")
        # The only way to reach FFmpeg's options; no thread of this process opens anything else meanwhile.
        wanted = f"rtsp_transport;{self._transport}|fflags;nobuffer|flags;low_delay"
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = wanted
        self._capture = cv2.VideoCapture(
            self._url,
            cv2.CAP_FFMPEG,
            [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
                self._timeout_ms,
                cv2.CAP_PROP_READ_TIMEOUT_MSEC,
                self._timeout_ms,
            ],
        )
        if not self._capture.isOpened():
            self._release()
            raise SourceError(
                f"{self._name} cannot be opened: is the camera on, the path right, and are user and "
                "password in the address?"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    def __iter__(self) -> Iterator[Frame]:
        if self._capture is None:
            raise SourceError(f"{self._name} is not open: use it in a with statement")
        cv2 = load_extra("camera", "rtsp://", "cv2")
        seq = 0
        while (capture := self._capture) is not None:
            ok, bgr = capture.read()
            now_s = time.monotonic()
            if not ok:
                if self._capture is not None:
                    raise SourceError(
                        f"{self._name} stopped: the server closed it, or is out of reach"
                    )
                return
            yield Frame(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), now_s, seq, self._name)
            seq += 1

    def _release(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()
