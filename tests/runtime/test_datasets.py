"""The data that sim:// streams: files, folders, what comes in TTA_DATA and what comes in packages."""

import sys

import numpy as np
import pytest

from tta import registry
from tta.errors import SourceError
from tta.runtime.datasets import Dataset, open_dataset, square

PACKAGE = "tta.runtime.datasets"


def pgm(path, value=0, shape=(20, 24)):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"P5 %d %d 255\n" % shape[::-1] + bytes([value]) * (shape[0] * shape[1]))


def read(data, *items):
    return data.read(np.array(items), np.zeros(len(items), int))


def test_the_folder_says_which_there_are():
    names = registry.names(PACKAGE)
    assert names == ["archive", "cifar10", "fashion", "folder", "imagenet", "video", "watch"]
    assert all(issubclass(registry.load(PACKAGE, name), Dataset) for name in names)


def test_fashion_comes_with_the_package():
    data = open_dataset("fashion")
    assert len(data) == 2000 and len(data.names) == 10 and data.labels.max() == 9
    assert read(data, 3, 3).shape == (2, 28, 28)
    assert read(open_dataset("fashion", 32), 3).shape == (1, 32, 32)


def test_cifar10(tta_data, monkeypatch):
    monkeypatch.setenv("TTA_DATA", str(tta_data))
    pytest.importorskip("PIL")
    data = open_dataset("cifar10")
    assert len(data) == 10_000 and data.names[3] == "cat"
    images = read(data, 9, 0, 9)
    assert images.shape == (3, 32, 32, 3) and np.array_equal(images[0], images[2])
    assert len(open_dataset("cifar10/train")) == 50_000
    with pytest.raises(SourceError, match="cifar10 has the parts test and train, but not 'valid'"):
        open_dataset("cifar10/valid")


def test_imagenet(tta_data, monkeypatch):
    monkeypatch.setenv("TTA_DATA", str(tta_data))
    pytest.importorskip("PIL")
    data = open_dataset("imagenet")
    assert len(data) == 500 and read(data, 1, 250).shape == (2, 224, 224, 3)
    assert data.names[data.labels[0]] == "tench" and len(data.names) == 1000
    assert read(open_dataset("imagenet", 96), 1).shape == (1, 96, 96, 3)


@pytest.mark.parametrize("name", ["cifar10", "imagenet"])
def test_data_that_are_absent_say_how_to_have_them(name, tmp_path, monkeypatch):
    monkeypatch.delenv("TTA_DATA", raising=False)
    with pytest.raises(SourceError, match="set the environment variable TTA_DATA to the folder"):
        open_dataset(name)
    monkeypatch.setenv("TTA_DATA", str(tmp_path))
    with pytest.raises(
        SourceError, match=f"sim://{name} needs .*, but TTA_DATA=.* has no such file"
    ):
        open_dataset(name)
    file = "cifar10_test_jpeg.npz" if name == "cifar10" else "imagenet_sample.npz"
    np.savez(tmp_path / file, other=np.zeros(3))
    with pytest.raises(SourceError, match="is not the archive that"):
        open_dataset(name)


def test_an_archive_has_images_and_labels(tmp_path):
    path = tmp_path / "some.npz"
    np.savez(
        path, images=np.arange(2 * 400, dtype=np.uint8).reshape(2, 20, 20), labels=np.array([4, 2])
    )
    data = open_dataset(str(path))
    assert data.labels.tolist() == [4, 2] and read(data, 1).shape == (1, 20, 20)
    np.savez(path, images=np.zeros((5, 3, 40)))
    assert open_dataset(str(path)).windows and open_dataset(str(path)).kind == "sensor"
    np.savez(path, images=np.zeros((5, 20, 20, 3)))
    with pytest.raises(SourceError, match="must hold images uint8 of shape"):
        open_dataset(str(path))


def test_subfolders_are_classes(tmp_path):
    for name, value in (("cat/a", 1), ("cat/b", 2), ("ant/c", 3)):
        pgm(tmp_path / f"{name}.pgm", value)
    data = open_dataset(str(tmp_path))
    assert list(data.names) == ["ant", "cat"] and data.labels.tolist() == [0, 1, 1]
    assert read(data, 0, 2)[:, 0, 0].tolist() == [3, 2]
    pgm(tmp_path / "loose.pgm")
    assert open_dataset(str(tmp_path)).labels is None


def test_images_of_different_sizes_are_told_apart(tmp_path):
    pgm(tmp_path / "a.pgm"), pgm(tmp_path / "b.pgm", 7, (30, 50))
    wanted = "differ in size: a.pgm is 24x20, b.pgm is 50x30: add size=224"
    with pytest.raises(SourceError, match=wanted):
        open_dataset(str(tmp_path))
    both = read(open_dataset(str(tmp_path), 16), 0, 1)
    assert both.shape == (2, 16, 16) and (both[1] == 7).all()


def test_gray_among_colours_is_rgb_in_every_read(tmp_path):
    pgm(tmp_path / "a.pgm", 9)
    (tmp_path / "b.ppm").write_bytes(b"P6 24 20 255\n" + bytes(3 * 480))
    data = open_dataset(str(tmp_path))
    assert read(data, 0).shape == read(data, 1).shape == (1, 20, 24, 3)
    assert (read(data, 0) == 9).all()


def test_an_empty_folder_and_a_damaged_image(tmp_path):
    with pytest.raises(SourceError, match="has no images; expected files that end in"):
        open_dataset(str(tmp_path))
    (tmp_path / "a.pgm").write_bytes(b"P5 24 20 255\n123")
    with pytest.raises(
        SourceError, match=r"a.pgm is not a readable image: the netpbm image is cut off"
    ):
        open_dataset(str(tmp_path))


def test_a_video_is_read_in_any_order_but_slowly(tmp_path, monkeypatch):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for k in range(12):
        writer.write(np.full((48, 64, 3), 20 * k, np.uint8))
    writer.release()
    for room in (1 << 29, 0):  # kept, and decoded anew
        monkeypatch.setattr("tta.runtime.datasets.video._MOST_BYTES", room)
        data = open_dataset(str(path))
        assert len(data) == 12 and data.order == "given" and abs(data.fps - 10) < 0.1
        light = read(data, 3, 4, 4, 2, 11)[:, 24, 32, 0] / 20
        np.testing.assert_allclose(light, [3, 4, 4, 2, 11], atol=0.15)
        data.close()
    assert read(open_dataset(str(path), 32), 5).shape == (1, 32, 32, 3)
    with pytest.raises(SourceError, match="is not a video that OpenCV can decode"):
        open_dataset(__file__)


def test_watch_is_read_only_if_it_is_the_known_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "seglearn", raising=False)
    with pytest.raises(SourceError, match=r"pip install --no-deps seglearn==1.2.5"):
        open_dataset("watch")
    folder = tmp_path / "seglearn"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('it must not be imported')")
    with pytest.raises(
        SourceError, match=r"seglearn is installed, but has no data/watch_dataset.npy"
    ):
        open_dataset("watch")
    (folder / "data").mkdir()
    (folder / "data" / "watch_dataset.npy").write_bytes(b"cos\nsystem\n(S'echo hacked'\ntR.")
    with pytest.raises(SourceError, match=r"is not that of version 1.2.5, and it is not read"):
        open_dataset("watch")
    for part in ("0-99x", "x"):
        with pytest.raises(SourceError, match="names no subjects"):
            open_dataset(f"watch/{part}")


def test_watch():
    try:
        data = open_dataset("watch/8-10")
    except SourceError as absent:
        pytest.skip(str(absent))
    assert data.lengths.sum() == 77_198 and set(data.subjects) == {8, 9, 10}
    assert data.read(np.array([0, 1]), np.array([5, 0])).shape == (2, 6)
    assert len(open_dataset("watch")) == 140
    with pytest.raises(SourceError, match="watch has subjects 1 to 10, but none in 11"):
        open_dataset("watch/11")


def test_a_square_is_the_middle_of_the_shorter_side():
    wide = np.zeros((40, 80), np.uint8)
    wide[:, 20:60] = 255
    assert (square(wide, 20)[:, 1:-1] == 255).all()
