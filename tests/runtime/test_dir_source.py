"""Folders of images: order, labels, damaged files."""

import io
import sys
import threading

import numpy as np
import pytest

from tta.errors import MissingExtraError, SourceError
from tta.runtime.image_file import read_image, read_netpbm
from tta.runtime.source_uri import open_source
from tta.runtime.sources import dir_


def pgm(value):
    return b"P5 2 2 255\n" + bytes([value] * 4)


def values(uri, **options):
    with open_source(uri, **options) as source:
        return [(frame.seq, int(frame.data.flat[0])) for frame in source]


def test_natural_order_and_time(tmp_path):
    for number in (10, 2, 1):
        (tmp_path / f"img{number}.pgm").write_bytes(pgm(number))
    (tmp_path / "README.txt").write_text("no image")
    (tmp_path / "._img1.pgm").write_bytes(b"what macOS leaves behind")
    with open_source(f"dir://{tmp_path}?fps=10") as source:
        frames = list(source)
    assert [int(frame.data[0, 0]) for frame in frames] == [1, 2, 10]
    assert [frame.t_s for frame in frames] == [0.0, 0.1, 0.2]
    assert frames[0].meta == {"path": str(tmp_path / "img1.pgm")}


def test_subfolders_are_labels(tmp_path):
    for label, value in (("dog", 2), ("cat", 1)):
        (tmp_path / label / "deep").mkdir(parents=True)
        (tmp_path / label / "deep" / "a.pgm").write_bytes(pgm(value))
    (tmp_path / "z.pgm").write_bytes(pgm(3))
    with open_source(f"dir://{tmp_path}") as source:
        labels = [frame.meta.get("label_name") for frame in source]
    assert labels == ["cat", "dog", None]
    assert values(f"dir://{tmp_path}?recursive=false") == [(0, 3)]


def test_limit_and_loop(tmp_path):
    for number in (1, 2):
        (tmp_path / f"{number}.pgm").write_bytes(pgm(number))
    assert values(f"dir://{tmp_path}?limit=1") == [(0, 1)]
    assert values(f"dir://{tmp_path}?loop=true&limit=3") == [(0, 1), (1, 2), (2, 1)]


def test_a_damaged_file_is_not_the_end(tmp_path):
    (tmp_path / "1.pgm").write_bytes(pgm(1))
    (tmp_path / "2.pgm").write_bytes(pgm(2)[:-1])
    (tmp_path / "3.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "4.pgm").write_bytes(pgm(4))
    with open_source(f"dir://{tmp_path}") as source:
        assert [frame.seq for frame in source] == [0, 3]
        assert source.errors == 2 and "3.npy" in source.last_error


def test_pickles_are_not_loaded(tmp_path):
    np.save(tmp_path / "1.npy", np.array([{}], object), allow_pickle=True)
    np.save(tmp_path / "2.npy", np.ones((2, 2), np.float32))
    assert values(f"dir://{tmp_path}") == [(1, 1)]


@pytest.mark.parametrize("loop", [False, True])
def test_damaged_files_only(tmp_path, loop):
    (tmp_path / "1.pgm").write_bytes(b"P5")
    with pytest.raises(
        SourceError, match=r"none of the image files in .*1.pgm: not a netpbm image"
    ):
        values(f"dir://{tmp_path}", loop=loop)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("dir://{}", "has no images; expected files that end in .*.png"),
        ("dir://{}/missing", "needs a folder, but .*/missing does not exist"),
        ("dir://{}/a.txt", "needs a folder, but .*/a.txt is not a folder"),
        ("dir://{}?limit=0", "limit of dir:// must be at least 1"),
        ("dir://{}?fps=0", "fps of dir:// must be positive"),
    ],
)
def test_messages(tmp_path, uri, message):
    (tmp_path / "a.txt").touch()
    with pytest.raises(SourceError, match=message), open_source(uri.format(tmp_path)):
        pass


def test_formats_of_pillow(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    rgb, rgba = (rng.integers(0, 256, (5, 4, depth), np.uint8) for depth in (3, 4))
    image_module.fromarray(rgb).save(tmp_path / "rgb.png")
    image_module.fromarray(rgb[..., 0]).save(tmp_path / "gray.png")
    image_module.fromarray(rgba).save(tmp_path / "rgba.png")
    image_module.fromarray(rgb[..., 0] > 99).save(tmp_path / "bits.png")
    assert np.array_equal(read_image(tmp_path / "rgb.png"), rgb)
    assert np.array_equal(read_image(tmp_path / "gray.png"), rgb[..., 0])
    assert np.array_equal(read_image(tmp_path / "rgba.png"), rgba[..., :3])
    bits = read_image(tmp_path / "bits.png")
    assert bits.dtype == np.uint8 and set(np.unique(bits)) == {0, 255}
    (tmp_path / "cut.png").write_bytes((tmp_path / "rgb.png").read_bytes()[:40])
    with open_source(f"dir://{tmp_path}") as source:
        assert len(list(source)) == 4 and "cut.png" in source.last_error


def test_netpbm_equals_pillow():
    image_module = pytest.importorskip("PIL.Image")
    rgb = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    for array in (rgb, rgb[..., 0]):
        content = io.BytesIO()
        image_module.fromarray(array).save(content, "PPM")
        assert np.array_equal(read_netpbm(content.getvalue()), array)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"P2\n# by hand\n2 1\n# levels\n255\n0 7\n", [[0, 7]]),
        (b"P3 1 1 255 1 2 3", [[[1, 2, 3]]]),
        (b"P5 2 1 15\n\x00\x0f", [[0, 255]]),
        (b"P5 2 1 65535\n\x00\x01\x01\x00", [[1, 256]]),
    ],
)
def test_netpbm_kinds(content, expected):
    assert read_netpbm(content).tolist() == expected


@pytest.mark.parametrize("content", [b"", b"P7 1 1 255\n0", b"P5 0 1 255\n", b"P5 2 2 255\nabc"])
def test_netpbm_damage(content):
    with pytest.raises(SourceError):
        read_netpbm(content)


def test_pillow_is_missing(tmp_path, monkeypatch):
    (tmp_path / "a.png").touch()
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tta-edge\[images\]'"):
        values(f"dir://{tmp_path}")


def test_a_watched_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(dir_, "_LOOK_S", 0.01)
    head = b"P5 2 1 255\n"
    (tmp_path / "old.pgm").write_bytes(head + b"\x00\x00")
    with open_source(f"dir://{tmp_path}?watch=true") as source:
        assert source.live
        frames = iter(source)
        (tmp_path / "b.pgm").write_bytes(head + b"\x01\x01")
        first = next(frames)
        (tmp_path / "a.pgm").write_bytes(head + b"\x02\x02")
        assert next(frames).data[0, 0] == 2
        (tmp_path / "bad.pgm").write_bytes(b"half")
        with open(tmp_path / "slow.pgm", "wb") as slow:  # written in two pieces
            slow.write(head + b"\x03")
            slow.flush()
            writer = threading.Timer(0.002, lambda: (slow.write(b"\x03"), slow.flush()))
            writer.start()
            last = next(frames)
            writer.join()
        source.close()
        assert list(frames) == []
    assert first.data.tolist() == [[1, 1]] and first.t_s <= last.t_s
    assert last.data.tolist() == [[3, 3]] and source.errors >= 1


def test_a_watched_folder_may_be_empty_but_must_be_there(tmp_path):
    with open_source(f"dir://{tmp_path}?watch=true") as source:
        frames = iter(source)
        source.close()
        assert list(frames) == []
    with pytest.raises(SourceError, match="does not exist"):
        open_source(f"dir://{tmp_path}/none?watch=true").__enter__()
