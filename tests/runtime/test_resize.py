"""Resizing equals Pillow's antialiased bilinear filter."""

import numpy as np
import pytest

from tta.runtime.resize import resize

image_module = pytest.importorskip("PIL.Image")
SIZES = [
    ((48, 64), (22, 22)),
    ((33, 47), (24, 19)),
    ((24, 19), (33, 47)),
    ((20, 31), (31, 20)),
    ((7, 5), (3, 11)),
    ((100, 1), (7, 7)),
    ((1, 1), (5, 5)),
    ((32, 32), (32, 64)),
    ((32, 32), (64, 32)),
    ((32, 32), (32, 32)),
    ((270, 480), (64, 113)),
]


def planes(image):
    return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)


def whole(image, size, rounded):
    return resize(planes(image), size, rounded=rounded, crop=(0, 0, *size)).transpose(1, 2, 0)


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_bytes_equal_pillow(before, after):
    image = np.random.default_rng(0).integers(0, 256, (*before, 3), np.uint8)
    pillow = image_module.fromarray(image).resize(after[::-1], image_module.Resampling.BILINEAR)
    difference = np.abs(whole(image, after, True) - np.asarray(pillow, np.float32)) / 255
    assert difference.mean() < 1e-3
    assert difference.max() <= 1.01 / 255  # ties may round the other way, and never by more


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_real_numbers_equal_pillow(before, after):
    image = np.random.default_rng(0).random((*before, 1), np.float32)
    pillow = image_module.fromarray(image[..., 0]).resize(
        after[::-1], image_module.Resampling.BILINEAR
    )
    assert np.allclose(whole(image, after, False)[..., 0], np.asarray(pillow), atol=1e-6)


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_a_crop_is_a_part_of_the_whole(before, after):
    image = np.random.default_rng(0).integers(0, 256, (*before, 3), np.uint8)
    height, width = (after[0] + 1) // 2, (after[1] + 1) // 2
    top, left = (after[0] - height) // 2, (after[1] - width) // 2
    part = resize(planes(image), after, rounded=True, crop=(top, left, height, width))
    expected = whole(image, after, True)[top : top + height, left : left + width]
    assert np.abs(part.transpose(1, 2, 0) - expected).max() <= 1


@pytest.mark.parametrize("size", [(3, 3), (7, 9), (40, 33)])
def test_a_constant_stays_constant(size):
    image = np.full((13, 17, 3), 200, np.uint8)
    assert np.array_equal(whole(image, size, True), np.full((*size, 3), 200))
