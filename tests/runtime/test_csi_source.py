"""The ribbon camera with stand-ins for picamera2 and an OpenCV that has GStreamer: no board was at hand."""

import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tta.errors import SourceError
from tta.runtime.source_uri import open_source
from tta.runtime.sources import csi

BGR = np.array([[[3, 2, 1]]], np.uint8)


class Capture:
    opens = True

    def __init__(self, pipeline, api):
        self.pipeline, self.left = pipeline, 3

    def isOpened(self):
        return self.opens

    def read(self):
        self.left -= 1
        return self.left >= 0, BGR

    def release(self): ...


@pytest.fixture
def jetson(monkeypatch, tmp_path):
    (tmp_path / "release").touch()
    monkeypatch.setattr(csi, "_JETSON", str(tmp_path / "release"))
    fake = SimpleNamespace(VideoCapture=Capture, CAP_GSTREAMER=1800)
    fake.getBuildInformation = lambda: "    GStreamer:                   YES (1.20.3)"
    monkeypatch.setitem(sys.modules, "cv2", fake)
    return fake


class Picamera2:
    released = 0

    def __init__(self, number):
        if number > 0:
            raise IndexError("list index out of range")

    def create_video_configuration(self, main, controls):
        return main, controls

    def configure(self, chosen):
        assert chosen == ({"format": "RGB888", "size": (640, 480)}, {"FrameRate": 15.0})

    def start(self): ...
    def close(self): ...
    def capture_request(self):
        told = {"ExposureTime": 20000, "AnalogueGain": 2.0, "SensorTemperature": 41.0, "Lux": 9}

        def release():
            Picamera2.released += 1

        return SimpleNamespace(
            make_array=lambda stream: BGR, get_metadata=lambda: told, release=release
        )


def test_a_jetson(jetson):
    with open_source("csi://1?width=640&height=480&flip=2&process=false") as source:
        frames = iter(source)
        assert [next(frames).data.tolist() for _ in range(3)] == [[[[1, 2, 3]]]] * 3
        said = source._camera.pipeline
        assert "nvarguscamerasrc sensor-id=1 " in said and "flip-method=2" in said
        assert "width=640,height=480,framerate=30/1" in said and "drop=true max-buffers=1" in said
        with pytest.raises(SourceError, match="stopped delivering frames"):
            next(frames)


def test_a_jetson_whose_opencv_is_from_pypi(jetson):
    jetson.getBuildInformation = lambda: "    GStreamer:                   NO"
    with pytest.raises(SourceError, match="needs OpenCV with GStreamer, and this one"):
        open_source("csi://0?process=false").__enter__()


def test_a_jetson_without_a_camera(jetson, monkeypatch):
    monkeypatch.setattr(Capture, "opens", False)
    with pytest.raises(SourceError, match=r"is the ribbon seated.*nvargus-daemon"):
        open_source("csi://0?process=false").__enter__()


def test_a_raspberry_pi(monkeypatch):
    fake = SimpleNamespace(Picamera2=Picamera2, __spec__=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "picamera2", fake)
    uri = "csi://0?width=640&height=480&fps=15&through=picamera2&process=false"
    with open_source(uri) as source:
        first, second = itertools.islice(source, 2)
    assert first.data.tolist() == [[[1, 2, 3]]] and second.seq == 1
    assert first.meta == {"exposure_s": 0.02, "gain": 2.0, "temperature_c": 41.0}
    assert Picamera2.released == 2
    with pytest.raises(SourceError, match=r"csi://1 cannot be opened \(list index"):
        open_source("csi://1?through=picamera2&process=false").__enter__()


def test_no_picamera2_is_said_through_the_process():
    with pytest.raises(SourceError, match="sudo apt install python3-picamera2"):
        open_source("csi://0?through=picamera2").__enter__()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("csi://front", "needs the number of a connector"),
        ("csi://0?through=v4l2", "is auto, gstreamer or picamera2"),
        ("csi://0?fps=0", "width, height and fps are positive"),
    ],
)
def test_options(uri, message):
    with pytest.raises(SourceError, match=message):
        open_source(uri)
