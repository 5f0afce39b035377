"""What holds for every corruption, whatever it does."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.painted import fashion, painted
from tta.corruptions import corrupt, corruptions, find, names, standard
from tta.errors import NotFoundError, TtaError

ROOT = Path(__file__).parents[2]
PICTURES = names("image") + names("camera")
GRAY = [name for name in PICTURES if name != "saturate"]
FIFTEEN = {
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
}  # fmt: skip
MINUTE = 60.0  # by then every fault has developed


@pytest.fixture(scope="module")
def small():
    """RGB, 32 px."""
    return painted(24, 32)


@pytest.fixture(scope="module")
def large():
    """RGB, 224 px."""
    return painted(3, 224)


@pytest.fixture(scope="module")
def gray():
    """Gray, 28 px."""
    return fashion(24)


def signal(n=12, channels=6, length=100):
    """Waves on a slope: what a wrong clock reads is the farther off the more it is wrong."""
    time = np.arange(length) / 50
    waves = np.sin(2 * np.pi * (1 + np.arange(channels))[:, None] * time) + 5 * time
    return np.stack([waves * (1 + 0.1 * k) for k in range(n)]).astype(np.float32)


def test_the_fifteen_and_four_more_are_there():
    assert standard() == sorted(FIFTEEN)
    extra = {"speckle_noise", "gaussian_blur", "spatter", "saturate"}
    assert set(names("image")) - set(standard()) == extra
    assert len(names("camera")) == 5 and len(names("sensor")) == 8
    assert names() == sorted(names("image") + names("camera") + names("sensor"))


@pytest.mark.parametrize("name", PICTURES)
def test_shape_and_type_stay_and_the_input_is_not_touched(name, small, large, gray):
    odd = large[:2, :131, :97]
    for images in (small[:3], large[:1], odd, *([] if name == "saturate" else [gray[:3]])):
        before = images.copy()
        after = corrupt(images, name, 4, 1, t_s=np.full(len(images), MINUTE))
        assert after.shape == images.shape and after.dtype == np.uint8
        assert np.array_equal(images, before) and not np.array_equal(after, images)


@pytest.mark.parametrize("name", GRAY)
def test_gray_pictures_have_one_channel_or_none(name, gray):
    flat, deep = corrupt(gray[:4], name, 3, 1), corrupt(gray[:4, ..., None], name, 3, 1)
    assert np.array_equal(flat, deep[..., 0])


@pytest.mark.parametrize("name", PICTURES)
def test_chunks_of_a_stream_are_as_the_whole(name, small, large):
    for images, cuts in ((small[:9], (0, 1, 3, 8, 9)), (large, (0, 1, 3))):
        whole = corrupt(images, name, 3, 7)
        parts = [corrupt(images[a:b], name, 3, 7, first=a) for a, b in pairwise(cuts)]
        assert np.array_equal(whole, np.concatenate(parts))
    numbers = np.array([5, 2, 8])
    some, whole = corrupt(small[numbers], name, 3, 7, first=numbers), corrupt(small[:9], name, 3, 7)
    assert np.array_equal(some, whole[numbers])


SEEDLESS = {
    "brightness", "contrast", "defocus_blur", "gaussian_blur", "zoom_blur", "saturate", "pixelate",
    "jpeg_compression", "focus_drift",
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_the_seed_decides(name, small):
    one, again, other = (corrupt(small, name, 3, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert np.array_equal(one, other) == (name in SEEDLESS)


def test_a_generator_is_a_seed_too(small):
    one, again, other = (
        corrupt(small, "fog", 3, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(one, again) and not np.array_equal(one, other)


# The published constants of these are not in the order of the mean change that they make: saturate
# first takes colour away and then adds it, elastic's first two are mostly the affine map, spatter turns
# from water to mud, snow's second and third, glass's third and fourth and frost's last change places.
UNORDERED = {"saturate", "elastic_transform", "spatter", "snow", "glass_blur", "frost"}


@pytest.mark.parametrize("name", sorted(set(PICTURES) - UNORDERED))
def test_the_harsher_the_farther_from_clean(name, small, large):
    for images in (small, large):
        t_s = np.full(len(images), MINUTE)
        changes = [
            np.abs(corrupt(images, name, s, 2, t_s=t_s).astype(int) - images).mean()
            for s in range(1, 6)
        ]
        # Equal ones are one dead column at 32 px, and motion blur's third and fourth.
        assert all(a <= 1.005 * b for a, b in pairwise(changes)), changes
        assert changes[0] > 0 and changes[4] > 1.3 * changes[0]


@pytest.mark.parametrize("name", names("sensor"))
def test_sensor_faults_keep_shape_and_grow(name):
    x = signal()
    before = x.copy()
    changes = [np.abs(corrupt(x, name, s, 5) - x).mean() for s in range(6)]
    assert changes[0] == 0 and all(a < b for a, b in pairwise(changes)), changes
    assert corrupt(x, name, 3, 5).shape == x.shape and np.array_equal(x, before)
    assert corrupt(x, name, 3, 5).dtype == np.float32


@pytest.mark.parametrize("name", names("sensor"))
def test_chunks_of_windows_and_of_samples_are_as_the_whole(name):
    x = signal()
    scale = np.full(6, 2.0)
    whole = corrupt(x, name, 3, 5, scale=scale)
    parts = [
        corrupt(x[a:b], name, 3, 5, first=a, scale=scale) for a, b in ((0, 1), (1, 7), (7, 12))
    ]
    assert np.array_equal(whole, np.concatenate(parts))
    if find(name).places is not None:
        return  # a stream's wrong clock reads beyond a chunk: the source sees to it
    samples = np.concatenate([window.T for window in x])
    whole = corrupt(samples, name, 3, 5, scale=scale)
    cuts = (0, 1, 255, 256, 700, 1200)
    parts = [corrupt(samples[a:b], name, 3, 5, first=a, scale=scale) for a, b in pairwise(cuts)]
    assert np.array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("name", names("camera") + names("sensor"))
def test_faults_grow_between_whole_severities(name, small):
    x = signal() if name in names("sensor") else small
    t_s = np.full(len(x), MINUTE)
    levels = [0, 0.5, 1, 2.5, 3, 4.4, 5]
    made = [corrupt(x, name, level, 3, t_s=t_s).astype(float) for level in levels]
    changes = [np.abs(each - x).mean() for each in made]
    assert changes[0] == 0
    assert all(a <= 1.01 * b for a, b in pairwise(changes)), changes


@pytest.mark.parametrize("name", names())
def test_nothing_but_numpy_is_imported(name):
    assert corruptions()[name].apply.__module__.startswith("tta.corruptions.")


def test_they_work_without_any_extra():
    code = """
import sys
sys.modules.update(dict.fromkeys(("cv2", "PIL", "scipy", "torch", "onnxruntime")))
import numpy as np
from tta.corruptions import corrupt, names
images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
for name in names("image") + names("camera"):
    corrupt(images, name, 5)
print("all")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "all\n", done.stderr


def test_an_unknown_name_gets_the_nearest(small):
    with pytest.raises(NotFoundError, match="no corruption is named 'fgo'; known: fog"):
        corrupt(small, "fgo", 3)


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5])
def test_published_severities_are_whole(small, severity):
    with pytest.raises(TtaError, match="severity must be a whole number from 1 to 5, but is"):
        corrupt(small, "fog", severity)


@pytest.mark.parametrize("severity", [-0.1, 5.1, float("nan")])
def test_severities_of_faults_are_in_range(small, severity):
    with pytest.raises(TtaError, match="severity of lens_dirt must be from 0 to 5, but is"):
        corrupt(small, "lens_dirt", severity)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 32, 32), np.float32),
        np.zeros((32, 32), np.uint8),
        np.zeros((2, 32, 32, 4), np.uint8),
        np.zeros((2, 8, 8), np.uint8),
    ],
)
def test_other_images_are_refused(images):
    with pytest.raises(TtaError, match="images must be uint8 of shape"):
        corrupt(images, "contrast", 3)


def test_gray_images_have_no_colours_to_saturate(gray):
    with pytest.raises(TtaError, match="saturate changes colours, but the images are gray"):
        corrupt(gray, "saturate", 3)


def test_sensor_faults_refuse_what_is_no_signal():
    with pytest.raises(TtaError, match="readings of a sensor must be numbers of shape"):
        corrupt(np.zeros(5), "sensor_gain", 3)
    with pytest.raises(TtaError, match="axis_rotation turns triads"):
        corrupt(np.zeros((2, 4, 10)), "axis_rotation", 3)


def test_no_images_are_no_images(small):
    assert corrupt(small[:0], "contrast", 3).shape == (0, 32, 32, 3)
