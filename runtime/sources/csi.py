"""A camera on the board's ribbon connector: ``csi://0?width=1280&height=720&fps=30``."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from tta.errors import SourceError
from tta.records import Frame
from tta.runtime.extra import load_extra

_JETSON = "/etc/nv_tegra_release"


class Csi:
    """``(H, W, 3)`` RGB uint8: on a Jetson through GStreamer in OpenCV, on a Raspberry Pi through picamera2.

    With picamera2, ``meta`` has ``exposure_s``, ``gain``, ``temperature_c`` and ``sensor_s`` where the sensor
    tells them. Both libraries come with the board's system, not from PyPI: make the environment with
    ``python3 -m venv --system-site-packages``.

    Args:
        number: of the connector.
        width: pixels.
        height: pixels.
        fps: frames per second.
        flip: Jetson's ``flip-method``, 2 turns by 180 degrees.
        through: ``auto``, ``gstreamer`` or ``picamera2``.
    """

    live = True
    captured = True

    def __init__(
        self,
        number: str = "0",
        *,
        width: int = 1280,
        height: int = 720,
        fps: int = 30,
        flip: int = 0,
        through: str = "auto",
    ) -> None:
        if not number.isdecimal():
            raise SourceError(
                f"csi:// needs the number of a connector, as in csi://0, not {number!r}"
            )
        if through not in ("auto", "gstreamer", "picamera2"):
            raise SourceError(
                f"option through of csi:// is auto, gstreamer or picamera2, but is {through!r}"
            )
        if min(width, height, fps) < 1 or not 0 <= flip <= 7:
            raise SourceError(
                "options of csi://: width, height and fps are positive, flip is 0 to 7"
            )
        self._number, self._size, self._fps, self._flip = int(number), (width, height), fps, flip
        self._through, self._name = through, f"csi://{number}"
        self._camera: Any = None

    def __enter__(self) -> Csi:
        through = self._through
        if through == "auto":
            through = "gstreamer" if os.path.exists(_JETSON) else "picamera2"
        self._pi = through == "picamera2"
        self._camera = self._picamera() if self._pi else self._gstreamer()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close() if self._pi else camera.release()

    def __iter__(self) -> Iterator[Frame]:
        if self._camera is None:
            raise SourceError(f"{self._name} is not open: use it in a with statement")
        seq = 0
        while (camera := self._camera) is not None:
            if self._pi:
                # A request is given back at once: those kept starve the driver of buffers.
                request = camera.capture_request()
                try:
                    data, told = request.make_array("main"), request.get_metadata()
                finally:
                    request.release()
                data, meta = data[..., ::-1].copy(), _meta(told)  # "RGB888" is B, G, R in memory
            else:
                ok, bgr = camera.read()
                if not ok:
                    raise SourceError(
                        f"{self._name} stopped delivering frames: is its ribbon seated?"
                    )
                data, meta = bgr[..., ::-1].copy(), {}
            yield Frame(data, time.monotonic(), seq, self._name, meta)
            seq += 1

    def pipeline(self) -> str:
        """What GStreamer runs on a Jetson; one buffer, the newest."""
        width, height = self._size
        return (
            f"nvarguscamerasrc sensor-id={self._number} ! "
            f"video/x-raw(memory:NVMM),width={width},height={height},framerate={self._fps}/1 ! "
            f"nvvidconv flip-method={self._flip} ! video/x-raw,format=BGRx ! videoconvert ! "
            "video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
        )

    def _gstreamer(self) -> Any:
        cv2 = load_extra("camera", "csi://", "cv2")
        built = next((x for x in cv2.getBuildInformation().splitlines() if "GStreamer:" in x), "")
        if "YES" not in built:
            raise SourceError(
                "csi:// on a Jetson needs OpenCV with GStreamer, and this one, as all from PyPI, has none: "
                "use JetPack's (python3-opencv, in a venv with --system-site-packages)"
            )
        capture = cv2.VideoCapture(self.pipeline(), cv2.CAP_GSTREAMER)
        if not capture.isOpened():
            capture.release()
            raise SourceError(
                f"{self._name} cannot be opened: is the ribbon seated, the size one that the sensor has, and "
                "nvargus-daemon running (sudo systemctl restart nvargus-daemon)?"
            )
        return capture

    def _picamera(self) -> Any:
        if importlib.util.find_spec("picamera2") is None:
            raise SourceError(
                "csi:// on a Raspberry Pi needs picamera2: sudo apt install python3-picamera2, in a venv "
                "with --system-site-packages"
            )
        module = load_extra("camera", "csi://", "picamera2")
        try:
            camera = module.Picamera2(self._number)
        except (IndexError, RuntimeError) as error:
            raise SourceError(
                f"{self._name} cannot be opened ({error}): is the ribbon seated, and no other program at it?"
            ) from error
        main = {"format": "RGB888", "size": self._size}
        camera.configure(
            camera.create_video_configuration(main=main, controls={"FrameRate": float(self._fps)})
        )
        camera.start()
        return camera


def _meta(told: dict[str, Any]) -> dict[str, float]:
    """Exposure, gain, temperature and time of libcamera's metadata, in s and °C."""
    scales = {
        "ExposureTime": ("exposure_s", 1e-6),
        "AnalogueGain": ("gain", 1.0),
        "SensorTemperature": ("temperature_c", 1.0),
        "SensorTimestamp": ("sensor_s", 1e-9),
    }
    return {name: told[key] * by for key, (name, by) in scales.items() if key in told}
