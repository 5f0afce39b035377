"""Every file in runtime/sources/ keeps the contract of a source."""

import io
import itertools
import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tta import registry
from tta.protocols import Source
from tta.records import Frame
from tta.runtime.source_uri import open_source, schemes

PACKAGE = "tta.runtime.sources"
PPM = b"P6 2 1 255\n" + bytes(range(6))


def dir_uri(tmp_path, monkeypatch):
    for number in range(3):
        (tmp_path / f"{number}.ppm").write_bytes(PPM)
    return f"dir://{tmp_path}"


def file_uri(tmp_path, monkeypatch):
    (tmp_path / "one.ppm").write_bytes(PPM)
    return f"file://{tmp_path}/one.ppm"


def npz_uri(tmp_path, monkeypatch):
    np.savez(tmp_path / "three.npz", images=np.zeros((3, 4, 4), np.uint8))
    return f"npz://{tmp_path}/three.npz"


def replay_uri(tmp_path, monkeypatch):
    (tmp_path / "stream").mkdir()
    for k in range(3):
        known = {"t_s": k / 30, "seq": k, "meta": "{}", "source": "made"}
        np.savez(tmp_path / "stream" / f"{k:010}.npz", data=np.zeros((4, 4), np.uint8), **known)
    return f"replay://{tmp_path}"


def serial_uri(tmp_path, monkeypatch):
    pytest.importorskip("serial")
    return "serial://loop://"


def v4l2_uri(tmp_path, monkeypatch):
    (tmp_path / "video0").touch()

    class VideoCapture:
        def __init__(self, device, api): ...
        def isOpened(self):
            return True

        def set(self, key, value): ...
        def read(self):
            return True, np.zeros((2, 2, 3), np.uint8)

        def release(self): ...

    fake = SimpleNamespace(
        VideoCapture=VideoCapture,
        CAP_V4L2=200,
        CAP_ANY=0,
        CAP_PROP_BUFFERSIZE=38,
        COLOR_BGR2RGB=4,
        cvtColor=lambda image, code: image[..., ::-1],
    )
    monkeypatch.setitem(sys.modules, "cv2", fake)
    return f"v4l2://{tmp_path}/video0?process=false"


def http_uri(tmp_path, monkeypatch):
    image_module = pytest.importorskip("PIL.Image")
    picture = io.BytesIO()
    image_module.new("RGB", (4, 4)).save(picture, "JPEG")
    body = b"--b\r\n\r\n" + picture.getvalue() + b"\r\n"

    class Opener:
        def open(self, url, timeout):
            answer = io.BytesIO(body * 4)
            answer.headers = {"Content-Type": "multipart/x-mixed-replace; boundary=b"}
            return answer

    monkeypatch.setattr("urllib.request.build_opener", lambda *_: Opener())
    return "http://camera/?process=false"


def rtsp_uri(tmp_path, monkeypatch):
    v4l2_uri(tmp_path, monkeypatch)
    fake = sys.modules["cv2"]
    inner = fake.VideoCapture
    fake.VideoCapture = lambda url, api, options: inner(url, api)
    fake.CAP_FFMPEG, fake.CAP_PROP_OPEN_TIMEOUT_MSEC, fake.CAP_PROP_READ_TIMEOUT_MSEC = 1900, 53, 54
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "")
    return "rtsp://camera/stream?process=false"


def csi_uri(tmp_path, monkeypatch):
    v4l2_uri(tmp_path, monkeypatch)
    fake = sys.modules["cv2"]
    fake.CAP_GSTREAMER, fake.getBuildInformation = 1800, lambda: "GStreamer: YES"
    return "csi://0?through=gstreamer&process=false"


def mqtt_uri(tmp_path, monkeypatch):
    """A stand-in for the client; tests/runtime/test_mqtt_source.py has a broker."""
    pytest.importorskip("paho.mqtt.client")

    class Client:
        def __init__(self, version): ...
        def reconnect_delay_set(self, least, most): ...
        def connect(self, host, port, keepalive): ...
        def disconnect(self): ...
        def loop_stop(self): ...
        def subscribe(self, topic, qos): ...
        def loop_start(self):
            good = SimpleNamespace(is_failure=False)
            self.on_connect(self, None, None, good, None)
            self.on_subscribe(self, None, 1, [good], None)
            for payload in (b"1,2", b"3,4", b"5,6"):
                message = SimpleNamespace(topic="a", payload=payload)
                self.on_message(self, None, message)

    monkeypatch.setattr("paho.mqtt.client.Client", Client)
    return "mqtt://broker/a"


EXAMPLES = {
    "csi": csi_uri,
    "dir": dir_uri,
    "file": file_uri,
    "http": http_uri,
    "mqtt": mqtt_uri,
    "npz": npz_uri,
    "replay": replay_uri,
    "rtsp": rtsp_uri,
    "serial": serial_uri,
    "sim": lambda tmp_path, monkeypatch: "sim://fashion?corruption=fog&frames=3&onset=1",
    "synthetic": lambda tmp_path, monkeypatch: "synthetic://?frames=3",
    "v4l2": v4l2_uri,
}
NAMES = registry.names(PACKAGE)


@pytest.fixture(params=NAMES)
def source(request, tmp_path, monkeypatch):
    if request.param not in EXAMPLES:
        pytest.fail(
            f"runtime/sources/{request.param}.py has no example in tests/contract/test_sources.py: "
            "add a function to EXAMPLES that prepares its input and returns a URI"
        )
    return open_source(EXAMPLES[request.param](tmp_path, monkeypatch))


def frames(source, most=3):
    if hasattr(source, "link"):
        source.link.write(b"cut\n1,2\n3,4\n5,6\n")
    return list(itertools.islice(source, most))


def test_it_plays_the_role(source):
    assert isinstance(source, Source)
    assert source.live in (True, False)


def test_entering_gives_the_source_itself(source):
    with source as entered:
        assert entered is source


def test_frames_are_in_order(source):
    with source:
        seen = frames(source)
    assert seen and all(isinstance(frame, Frame) for frame in seen)
    assert [frame.seq for frame in seen] == list(range(len(seen)))
    times = [frame.t_s for frame in seen]
    assert all(map(math.isfinite, times)) and times == sorted(times)
    for frame in seen:
        assert isinstance(frame.data, np.ndarray) and frame.data.dtype.kind in "uif"
        assert frame.source


def test_finite_sources_can_be_read_again(source):
    if source.live:
        pytest.skip("live")
    with source:
        first, second = frames(source), frames(source)
    assert all(np.array_equal(a.data, b.data) and a.t_s == b.t_s for a, b in zip(first, second))
    assert len(first) == len(second)


def test_closing_twice_is_harmless(source):
    with source:
        frames(source, 1)
    source.__exit__(None, None, None)


def test_it_can_be_opened_again(source):
    for _ in range(2):
        with source:
            assert frames(source, 1)


def test_schemes_are_served_by_one_source_each():
    served = [
        scheme
        for name in NAMES
        for scheme in getattr(registry.load(PACKAGE, name), "schemes", (name,))
    ]
    assert sorted(served) == schemes()


def test_importing_every_source_loads_no_extra():
    code = (
        "import sys; from tta.runtime.source_uri import schemes; schemes(); "
        "print([m for m in ('cv2', 'PIL', 'serial', 'paho', 'torch', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
