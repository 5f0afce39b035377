from importlib.resources import files

import numpy as np
import pytest

from tta.demo.shifts import SHIFTS, shift


def pictures(n=16, shape=(28, 28), seed=0):
    """Bright boxes on black: what every shift changes."""
    rng = np.random.default_rng(seed)
    images = np.zeros((n, *shape), np.uint8)
    h, w = shape[0] // 4, shape[1] // 4
    images[:, h : 3 * h, w : 3 * w] = rng.integers(60, 255, (n, *[1] * len(shape)))
    return images


def change(name, images, severity):
    after = shift(name, images, severity, np.random.default_rng(0))
    return np.abs(after.astype(float) - images).mean()


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("shape", [(28, 28), (32, 48, 3), (256, 200, 1), (31, 29)])
def test_shape_and_dtype_stay(name, shape):
    images = pictures(3, shape)
    before = images.copy()
    after = shift(name, images, 3, np.random.default_rng(0))
    assert after.shape == images.shape and after.dtype == np.uint8
    assert np.array_equal(images, before)
    assert not np.array_equal(after, images)


@pytest.mark.parametrize("name", ["noise", "fog"])
def test_seed_decides(name):
    images = pictures()
    a, b, c = (shift(name, images, 3, np.random.default_rng(s)) for s in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


@pytest.mark.parametrize("name", SHIFTS)
def test_severity_is_monotone(name):
    images = pictures()
    changes = [change(name, images, severity) for severity in range(1, 6)]
    assert changes == sorted(changes) and changes[0] < changes[-1]


def test_noise_has_the_published_sigma():
    gray = np.full((8, 64, 64), 128, np.uint8)
    noisy = shift("noise", gray, 5, np.random.default_rng(0)).astype(float)
    assert abs(noisy.std() / 255 - 0.10) < 0.002
    assert abs(noisy.mean() - 128) < 0.5


def test_contrast_keeps_the_mean_of_each_channel():
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    pale = shift("contrast", images, 5, np.random.default_rng(0)).astype(float)
    assert np.abs(pale.mean((1, 2)) - images.mean((1, 2))).max() < 0.5
    assert abs(pale.std() / images.std() - 0.15) < 0.02


def test_fog_is_smooth_brightens_and_differs_between_pictures():
    images = pictures()
    foggy = shift("fog", images, 3, np.random.default_rng(0)).astype(float)
    background = foggy[:, :7]
    assert background.mean() > 20
    assert np.abs(np.diff(background, axis=2)).mean() < 0.2 * background.std()
    assert not np.array_equal(foggy[0, :7], foggy[1, :7])
    assert (foggy <= images.max((1, 2), keepdims=True)).all()


def test_a_black_picture_stays_black_in_fog():
    black = np.zeros((2, 28, 28), np.uint8)
    assert not shift("fog", black, 5, np.random.default_rng(0)).any()


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5])
def test_severity_out_of_range(severity):
    with pytest.raises(ValueError, match="severity must be a whole number from 1 to 5"):
        shift("noise", pictures(), severity, np.random.default_rng(0))


def test_unknown_name():
    with pytest.raises(ValueError, match="no shift is named 'rain'; there are: noise, fog, con"):
        shift("rain", pictures(), 3, np.random.default_rng(0))


@pytest.mark.parametrize("images", [pictures().astype(np.float32), pictures()[0]])
def test_other_images_are_refused(images):
    with pytest.raises(ValueError, match="images must be uint8 of shape"):
        shift("noise", images, 3, np.random.default_rng(0))


def test_data_are_balanced_and_small():
    path = files("tta.demo") / "fashion_test.npz"
    with path.open("rb") as file:
        data = np.load(file)
        assert data["images"].shape == (2000, 28, 28) and data["images"].dtype == np.uint8
        assert np.array_equal(np.bincount(data["labels"]), np.full(10, 200))
        assert data["names"].shape == (10,) and data["names"].dtype.kind == "U"
        assert file.seek(0, 2) < 1_200_000
