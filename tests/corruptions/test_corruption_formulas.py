"""Corruptions against closed forms, slow loops and independent decoders."""

import colorsys
import io

import numpy as np
import pytest

from tests.painted import fashion, painted
from tta.corruptions import blur, corrupt, weather
from tta.corruptions._draws import Draws
from tta.corruptions._planes import convolve, gaussian, sample, streak
from tta.corruptions.camera_faults import _dirt
from tta.corruptions.sensor_faults import read_at

GRAY_128 = np.full((8, 64, 64), 128, np.uint8)


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


def draws(n=2, seed=0):
    return Draws(seed, np.arange(n), np.zeros(n), np.ones(3, np.float32))


def point(side=33):
    light = np.zeros((1, 1, side, side), np.float32)
    light[0, 0, side // 2, side // 2] = 1
    return light


def test_gaussian_noise_has_the_published_sigma():
    noisy = corrupt(GRAY_128, "gaussian_noise", 5).astype(float)
    assert abs(noisy.std() / 255 - 0.10) < 0.002 and abs(noisy.mean() - 128) < 0.5


def test_shot_noise_has_the_variance_of_counts():
    noisy = corrupt(GRAY_128, "shot_noise", 5).astype(float) / 255  # x / c, c = 50
    assert abs(noisy.var() / (128 / 255 / 50) - 1) < 0.05 and abs(noisy.mean() - 128 / 255) < 0.005


def test_impulse_noise_hits_the_published_share_half_black_half_white():
    noisy = corrupt(GRAY_128, "impulse_noise", 5)
    assert abs((noisy == 0).mean() - 0.035) < 0.004 and abs((noisy == 255).mean() - 0.035) < 0.004
    assert ((noisy == 0) | (noisy == 255) | (noisy == 128)).all()


def test_speckle_noise_is_proportional_to_the_light():
    dim, bright = (
        corrupt(np.full((8, 64, 64), v, np.uint8), "speckle_noise", 5).std() for v in (40, 120)
    )
    assert abs(bright / dim - 3) < 0.1 and abs(bright / 120 - 0.2) < 0.005


def test_contrast_keeps_the_mean_of_each_channel(small):
    pale = corrupt(small, "contrast", 5).astype(float)
    assert np.abs(pale.mean((1, 2)) - small.mean((1, 2))).max() < 0.5
    spread = pale.std((1, 2)) / small.std((1, 2))
    assert np.abs(spread - 0.15).max() < 0.02


def hsv(image):
    return np.array([colorsys.rgb_to_hsv(*(pixel / 255)) for pixel in image.reshape(-1, 3)])


def test_brightness_raises_value_and_keeps_hue_and_saturation(small):
    before, after = hsv(small[0]), hsv(corrupt(small[:1], "brightness", 3)[0])
    np.testing.assert_allclose(after[:, 2], np.minimum(before[:, 2] + 0.15, 1), atol=0.003)
    coloured = (before[:, 1] > 0.1) & (before[:, 2] > 0.2)
    assert coloured.sum() > 100
    np.testing.assert_allclose(after[coloured, 1], before[coloured, 1], atol=0.02)
    turned = np.abs(after[coloured, 0] - before[coloured, 0])
    assert np.minimum(turned, 1 - turned).max() < 0.04


@pytest.mark.parametrize(("severity", "gain", "more"), [(1, 0.3, 0), (3, 1.5, 0), (5, 2.5, 0.2)])
def test_saturate_is_that_of_hsv(small, severity, gain, more):
    before = hsv(small[0])
    before[:, 1] = (before[:, 1] * gain + more).clip(0, 1)
    wanted = np.array([colorsys.hsv_to_rgb(*pixel) for pixel in before]).reshape(32, 32, 3)
    after = corrupt(small[:1], "saturate", severity)[0]
    np.testing.assert_allclose(after / 255, wanted, atol=0.5 / 255 + 1e-5)


def test_gaussian_blur_of_a_point_is_a_gaussian():
    at = np.arange(33) - 16
    wanted = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
    np.testing.assert_allclose(gaussian(point(), 1.5)[0, 0], wanted / wanted.sum(), atol=2e-5)


def test_defocus_of_a_point_is_a_disk():
    spread = blur.defocus_blur(point(), (3, 0.1), draws(1))[0, 0]
    inside = np.hypot(*np.mgrid[-16:17, -16:17]) <= 3
    np.testing.assert_allclose(spread, inside / inside.sum(), atol=1e-5)


def test_convolution_is_the_sum_of_moved_pictures(rng):
    x = rng.random((2, 3, 20, 17)).astype(np.float32)
    kernel = rng.random((5, 5)).astype(np.float32)
    kernel += kernel[::-1, ::-1]
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    wanted = sum(kernel[i, j] * padded[:, :, i : i + 20, j : j + 17] for i, j in np.ndindex(5, 5))
    np.testing.assert_allclose(convolve(x, kernel), wanted, atol=2e-5)


def test_motion_blur_of_a_point_is_a_one_sided_streak():
    weights = blur.streak_weights(6, 2.0)
    level = streak(point(), weights, np.zeros(1))[0, 0]
    assert np.flatnonzero(level.sum(1)).tolist() == [16]
    np.testing.assert_allclose(level[16, 17 - len(weights) : 17], weights[::-1], atol=1e-7)
    upright = streak(point(), weights, np.full(1, np.pi / 2))[0, 0]
    np.testing.assert_allclose(upright, level.T)


def test_glass_moves_pixels_as_a_loop_in_place_does():
    n, height, width, reach = 2, 12, 14, 2
    step = draws(n, 3).integers(-reach, reach, 2, height - 2 * reach, width - 2 * reach)
    moved = blur._moved(n, height, width, reach, draws(n, 3))
    for k in range(n):
        picture = np.arange(height * width).reshape(height, width).copy()
        for h in range(height - reach, reach, -1):
            for w in range(width - reach, reach, -1):
                dy, dx = step[k, :, h - reach - 1, w - reach - 1]
                picture[h, w] = picture[h + dy, w + dx]
        assert np.array_equal(moved[k], picture.ravel())


def test_zoom_blur_at_the_middle_of_a_picture_stays_there():
    assert blur.zoom_blur(point(), (1.26, 0.01), draws(1))[0, 0].argmax() == 16 * 33 + 16


FLAT = ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur", "elastic_transform",
        "pixelate", "jpeg_compression", "contrast", "camera_moved", "focus_drift"]  # fmt: skip


@pytest.mark.parametrize("name", FLAT)
def test_a_flat_picture_stays_flat(name):
    for side in (28, 224):
        flat = np.full((1, side, side, 3), 117, np.uint8)
        after = corrupt(flat, name, 4, 1, t_s=np.full(1, 60)).astype(int)
        assert np.abs(after - 117).max() <= 1


def test_fog_is_smooth_and_keeps_the_brightest_in_its_place(gray):
    foggy = corrupt(gray, "fog", 3).astype(float)
    background = foggy[:, :6]
    assert np.abs(np.diff(background, axis=2)).mean() < 0.25 * background.std()
    assert (foggy <= gray.max((1, 2), keepdims=True)).all()
    assert not corrupt(np.zeros((2, 28, 28), np.uint8), "fog", 5).any()


def test_plasma_is_diamond_square_on_a_torus():
    field = weather.plasma(8, 8, 2.0, draws(1, 4))[0].astype(float)
    numbers = (draws(1, 4).uniform(64)[0] * 2 - 1).astype(float)
    slow, used, step, amplitude = np.zeros((8, 8)), 0, 8, 1.0

    def rough(row, column, neighbours):
        nonlocal used
        slow[row, column] = (
            sum(slow[r % 8, c % 8] for r, c in neighbours) / 4 + amplitude * numbers[used]
        )
        used += 1

    while step >= 2:
        half = step // 2
        grid = [(r, c) for r in range(0, 8, step) for c in range(0, 8, step)]
        for r, c in grid:
            rough(r + half, c + half, [(r, c), (r + step, c), (r, c + step), (r + step, c + step)])
        for r, c in grid:
            rough(r, c + half, [(r, c), (r, c + step), (r + half, c + half), (r - half, c + half)])
        for r, c in grid:
            rough(r + half, c, [(r, c), (r + step, c), (r + half, c + half), (r + half, c - half)])
        step, amplitude = half, amplitude / 4
    slow = (slow - slow.min()) / (slow.max() - slow.min())
    np.testing.assert_allclose(field, slow, atol=1e-5)


def test_distances_to_edges_are_euclidean(rng):
    edges = rng.random((2, 30, 26)) < 0.01
    edges[:, 5, 5] = True
    at = np.stack(np.mgrid[:30, :26], -1)
    for k in range(2):
        away = np.linalg.norm(at[:, :, None] - np.argwhere(edges[k]), axis=-1).min(-1)
        np.testing.assert_allclose(
            weather._distance(edges)[k][away <= 20], away[away <= 20], atol=1e-5
        )


def test_snow_and_frost_whiten_and_spatter_hits_drops_only(small):
    for name in ("snow", "frost"):
        assert corrupt(small, name, 1).mean() > small.mean() + 5
    mud = corrupt(small, "spatter", 5)
    hit = (mud != small).any(-1)
    assert 0.01 < hit.mean() < 0.4
    assert np.abs(mud[hit].mean(0) - [63, 42, 20]).max() < 40


def test_each_picture_is_behind_other_ice():
    flat = np.full((3, 32, 32, 3), 60, np.uint8)
    first, second, third = corrupt(flat, "frost", 3)
    assert not np.array_equal(first, second) and not np.array_equal(second, third)


@pytest.mark.parametrize("quality", [80, 40, 15])
def test_jpeg_is_what_a_decoder_of_jpeg_shows(small, quality):
    image_module = pytest.importorskip("PIL.Image")
    from tta.corruptions._jpeg import jpeg

    for images in (small[:4], small[:4, :29, :27], small[:4, :, :, 0]):
        planes = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
        ours = np.rint(jpeg(planes.astype(np.float32) / 255, quality) * 255)
        theirs = np.empty_like(ours)
        for k, image in enumerate(images):
            file = io.BytesIO()
            image_module.fromarray(image).save(file, "JPEG", quality=quality)
            decoded = np.asarray(image_module.open(file))
            theirs[k] = decoded if decoded.ndim == 2 else decoded.transpose(2, 0, 1)
        # Coders use whole numbers: here and there a coefficient rounds the other way, in one block.
        off = np.abs(ours - theirs)
        assert off.mean() < 0.1 * np.abs(planes - theirs).mean() and np.median(off) == 0


def test_pixelate_is_resizing_by_boxes(small):
    image_module = pytest.importorskip("PIL.Image")
    box = image_module.Resampling.BOX
    for image, ours in zip(small[:6], corrupt(small[:6], "pixelate", 4)):
        theirs = image_module.fromarray(image).resize((24, 24), box).resize((32, 32), box)
        assert np.abs(ours.astype(int) - np.asarray(theirs)).max() <= 1


def test_sampling_a_plane_is_exact():
    rows, columns = np.mgrid[:20, :30].astype(np.float32)
    x = (2 * rows + 3 * columns)[None, None]
    at = np.array([[[0.25, 7.5]], [[3.75, 20.125]]], np.float32)
    got = sample(x, at[:1].reshape(1, 1, 2), at[1:].reshape(1, 1, 2), "nearest")
    np.testing.assert_allclose(got[0, 0, 0], [2 * 0.25 + 3 * 3.75, 2 * 7.5 + 3 * 20.125])


def test_elastic_moves_pixels_and_makes_none(small):
    bent = corrupt(small, "elastic_transform", 3)
    assert (bent.max((1, 2)) <= small.max((1, 2))).all() and (
        bent.min((1, 2)) >= small.min((1, 2))
    ).all()


def test_dirt_stays_in_place_and_is_more_of_the_same_when_harsher(small):
    white = np.full((5, 64, 64), 255, np.uint8)
    mild, harsh = (corrupt(white, "lens_dirt", s, 9, first=100).astype(int) for s in (2, 5))
    assert (mild == mild[0]).all() and (harsh <= mild).all() and (mild[0] < 200).any()
    later = corrupt(white, "lens_dirt", 2, 9, first=5000, t_s=np.full(5, 1e5))
    assert np.array_equal(mild, later)
    assert (_dirt(1, 32, 32, 6.5) >= _dirt(1, 32, 32, 6.0)).all()


def test_dead_columns_read_one_value(small):
    mild, harsh = (corrupt(small, "dead_column", s, 2) for s in (1, 5))
    dead = [np.flatnonzero((x != small).any((0, 1, 3))) for x in (mild, harsh)]
    assert len(dead[0]) == 1 and len(dead[1]) == 5 and set(dead[0]) < set(dead[1])
    for column in dead[1]:
        assert len(np.unique(harsh[:, :, column])) == 1


def test_exposure_hunts_about_the_right_one():
    t_s = np.arange(0, 60, 0.05)
    level = corrupt(np.full((len(t_s), 16, 16), 60, np.uint8), "exposure_hunting", 3, 4, t_s=t_s)
    stops = np.log2(level[:, 0, 0] / 60)
    assert abs(stops.mean()) < 0.05 and 0.85 < stops.max() <= 1.01 and -1.02 <= stops.min() < -0.85
    assert np.abs(np.diff(stops)).max() < 0.2  # it swings, it does not jump
    assert (level == level[:, :1, :1]).all()


def test_focus_creeps(large):
    t_s = np.array([0.0, 5, 20, 60, 300])
    blurred = corrupt(np.repeat(large[:1], 5, 0), "focus_drift", 3, t_s=t_s).astype(float)
    sharpness = np.abs(np.diff(blurred, axis=2)).mean((1, 2, 3))
    assert np.array_equal(blurred[0], large[0]) and (np.diff(sharpness) < 0).all()


def test_gain_and_offset_are_what_they_say(rng):
    x = rng.standard_normal((3, 6, 40)).astype(np.float32)
    np.testing.assert_allclose(corrupt(x, "sensor_gain", 4), x / 2, rtol=1e-6)
    moved = corrupt(x, "sensor_offset", 3, 1, scale=np.arange(1, 7)) - x
    wanted = np.broadcast_to(0.5 * np.arange(1, 7)[:, None], x.shape)
    np.testing.assert_allclose(np.abs(moved), wanted, atol=1e-5)


def test_a_turned_sensor_measures_the_same_length(rng):
    x = rng.standard_normal((3, 6, 40)).astype(np.float32)
    turned = corrupt(x, "axis_rotation", 5, 1)
    for a in (0, 3):
        before, after = (np.linalg.norm(v[:, a : a + 3], axis=1) for v in (x, turned))
        np.testing.assert_allclose(before, after, rtol=1e-5)
    axis = Draws(1, np.arange(1), np.zeros(1), np.ones(1)).scene().standard_normal(3)
    along = np.repeat((axis / np.linalg.norm(axis))[None, :, None], 5, 2)
    np.testing.assert_allclose(corrupt(along, "axis_rotation", 5, 1), along, atol=1e-6)


def test_noise_and_dropout_have_their_sizes():
    x = np.ones((4000, 3), np.float32)
    noise = corrupt(x, "sensor_noise", 3, 1, scale=np.array([1.0, 2, 4])) - 1
    np.testing.assert_allclose(noise.std(0), [0.5, 1, 2], rtol=0.05)
    lost = corrupt(x, "sensor_dropout", 4, 1) == 0
    assert abs(lost.mean() - 0.2) < 0.02 and (lost == lost[:, :1]).all()


def test_a_stuck_channel_does_not_move(rng):
    x = rng.standard_normal((500, 6)).astype(np.float32)
    stuck = np.ptp(corrupt(x, "stuck_value", 3, 1), axis=0) == 0
    assert stuck.sum() == 3 and (np.ptp(corrupt(x, "stuck_value", 5, 1), axis=0)[stuck] == 0).all()


def test_clocks_read_a_ramp_at_their_own_times():
    ramp = np.tile(np.arange(100, dtype=np.float32), (2, 3, 1))
    np.testing.assert_allclose(corrupt(ramp, "sampling_rate", 5), 0.5 * ramp, atol=1e-5)
    shaken = corrupt(ramp, "clock_jitter", 3, 1)[:, :, 10:-10] - ramp[:, :, 10:-10]
    assert abs(shaken.std() - 1) < 0.15 and np.array_equal(shaken[:, 0], shaken[:, 2])
    held = read_at(ramp[:1], np.array([[-3.0, 0.5, 200.0]]))
    np.testing.assert_allclose(held[0, 0], [0, 0.5, 99])
