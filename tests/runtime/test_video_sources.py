"""Video files and cameras through OpenCV."""

import itertools
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tta.errors import MissingExtraError, SourceError
from tta.manifest import InputSpec
from tta.runtime.preprocess import build
from tta.runtime.source_uri import open_source

FPS, COUNT = 20, 4


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (32, 16))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write a clip")
    for number in range(COUNT):
        writer.write(np.full((16, 32, 3), (0, 40 * number, 200), np.uint8))  # BGR: red
    writer.release()
    return path


def test_frames_are_rgb_with_the_clips_time(clip):
    with open_source(f"file://{clip}") as source:
        assert not source.live
        frames = list(source)
    assert [frame.data.shape for frame in frames] == [(16, 32, 3)] * COUNT
    assert all(frame.data.dtype == np.uint8 for frame in frames)
    red, green, blue = frames[2].data.mean((0, 1))
    assert abs(red - 200) < 8 and abs(green - 80) < 8 and blue < 8
    assert [frame.t_s for frame in frames] == pytest.approx([n / FPS for n in range(COUNT)])


def test_loop_goes_on_in_time(clip):
    with open_source(f"{clip}?loop=true&limit=6") as source:
        frames = list(source)
    assert [frame.seq for frame in frames] == list(range(6))
    assert [frame.t_s for frame in frames] == pytest.approx([n / FPS for n in range(6)])


def test_stopping_early_and_again(clip):
    with open_source(str(clip)) as source:
        assert len(list(itertools.islice(source, 2))) == 2
        assert len(list(source)) == COUNT


def test_a_single_image(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 255\n\x01\x02")
    with open_source(str(tmp_path / "a.pgm")) as source:
        (frame,) = source
    assert frame.data.tolist() == [[1, 2]] and frame.t_s == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text.mp4", "is not a video that OpenCV can decode, nor an image"),
        ("bad.pgm", "not a netpbm image"),
        ("bad.npy", "bad.npy is not a readable image"),
        ("missing.mp4", "needs a file, but .*missing.mp4 does not exist"),
        ("", "is a folder: use dir://"),
    ],
)
def test_messages(tmp_path, name, message):
    pytest.importorskip("cv2")
    for text in ("text.mp4", "bad.pgm", "bad.npy"):
        (tmp_path / text).write_text("hello")
    uri = f"file://{tmp_path}/{name}"
    with pytest.raises(SourceError, match=message), open_source(uri) as source:
        next(iter(source))


def test_a_limit_of_nothing():
    with pytest.raises(SourceError, match="limit of file:// must be at least 1"):
        open_source("file://a.mp4?limit=0")


def test_opencv_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    (tmp_path / "a.mp4").touch()
    for uri in (f"file://{tmp_path}/a.mp4", "camera://0?process=false"):
        with (
            pytest.raises(MissingExtraError, match=r"pip install 'tta-edge\[camera\]'"),
            open_source(uri),
        ):
            pass


class Capture:
    """Stands in for cv2.VideoCapture: three frames, then the camera is unplugged."""

    opens = True

    def __init__(self, device, api):
        self.device, self.left, self.asked, self.released = device, 3, {}, False

    def isOpened(self):
        return self.opens

    def set(self, key, value):
        self.asked[key] = value

    def read(self):
        self.left -= 1
        return self.left >= 0, np.array([[[1, 2, 3]]], np.uint8)

    def release(self):
        self.released = True


@pytest.fixture
def camera(tmp_path, monkeypatch):
    fake = SimpleNamespace(
        VideoCapture=Capture,
        CAP_V4L2=200,
        CAP_ANY=0,
        CAP_PROP_BUFFERSIZE=38,
        CAP_PROP_FRAME_WIDTH=3,
        CAP_PROP_FRAME_HEIGHT=4,
        CAP_PROP_FPS=5,
        COLOR_BGR2RGB=4,
        cvtColor=lambda image, code: image[..., ::-1],
    )
    monkeypatch.setitem(sys.modules, "cv2", fake)
    (tmp_path / "video0").touch()
    return f"camera://{tmp_path}/video0?process=false"


def test_camera_frames_until_it_is_unplugged(camera):
    with open_source(f"{camera}&width=640&fps=15") as source:
        assert source.live
        capture = source._capture
        assert capture.asked == {38: 1, 3: 640, 5: 15.0}
        frames = iter(source)
        assert [next(frames).seq for _ in range(2)] == [0, 1]
        assert next(frames).data.tolist() == [[[3, 2, 1]]]
        with pytest.raises(SourceError, match="stopped delivering frames: is it still plugged in"):
            next(frames)
    assert capture.released


def test_closing_a_camera_ends_its_frames(camera):
    with open_source(camera) as source:
        frames = iter(source)
        next(frames)
    assert list(frames) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="device files are Linux")
def test_no_camera(camera):
    with pytest.raises(SourceError, match=r"no camera at .*/video01; cameras present: "):
        open_source(camera.replace("video0", "video01")).__enter__()


def test_no_permission(camera, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(SourceError, match=r"no permission .* group video .*usermod"):
        open_source(camera).__enter__()


def test_a_camera_in_use(camera, monkeypatch):
    monkeypatch.setattr(Capture, "opens", False)
    with pytest.raises(SourceError, match="in use by another program"):
        open_source(camera).__enter__()


def test_a_camera_must_be_entered(camera):
    with pytest.raises(SourceError, match="use it in a with statement"):
        next(iter(open_source(camera)))


def test_a_lossless_clip_is_preprocessed_as_training_does(tmp_path):
    """Pillow on the filmed pixels, against what file:// and the bundle's preprocessing make of them."""
    cv2 = pytest.importorskip("cv2")
    image_module = pytest.importorskip("PIL.Image")
    path, rng = tmp_path / "clip.avi", np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"PNG "), FPS, (160, 120))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write a lossless clip")
    filmed = rng.integers(0, 256, (3, 120, 160, 3), np.uint8)
    for rgb in filmed:
        writer.write(np.ascontiguousarray(rgb[..., ::-1]))
    writer.release()
    spec = {"kind": "image", "channels": 3, "resize": 64, "crop": [56, 56], "mean": [0.4, 0.5, 0.6]}
    made = build(spec, InputSpec("x", (None, 3, 56, 56)))
    with open_source(f"file://{path}") as source:
        frames = list(source)
    assert len(frames) == 3
    for frame, rgb in zip(frames, filmed):
        assert np.array_equal(frame.data, rgb)
        small = image_module.fromarray(rgb).resize((85, 64), image_module.Resampling.BILINEAR)
        top, left = round((64 - 56) / 2), round((85 - 56) / 2)
        cut = np.asarray(small, np.float64)[top : top + 56, left : left + 56] / 255
        expected = (cut - spec["mean"]).transpose(2, 0, 1)
        assert np.abs(made(frame) - expected).mean() < 1e-3
        assert np.abs(made(frame) - expected[::-1]).mean() > 0.05  # B, G, R would be seen
