"""Preprocessing: the three kinds, and every frame that is not what it should be."""

import numpy as np
import pytest

from tta.errors import BundleError, FrameError
from tta.manifest import InputSpec
from tta.records import Frame
from tta.runtime.preprocess import build

RNG = np.random.default_rng(0)
IMAGE = {"kind": "image", "channels": 3, "layout": "CHW", "colour": "RGB"}
GRAY = {"kind": "image", "channels": 1, "colour": "GRAY"}
WINDOW = {"kind": "window", "channels": 2, "length": 4, "hop": 2}


def frame(data, seq=0):
    return Frame(np.asarray(data), float(seq), seq)


def rgb(height=8, width=8):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def image(spec=IMAGE, shape=(None, 3, 8, 8), **more):
    return build({**spec, **more}, InputSpec("x", shape))


def window(**more):
    spec = {**WINDOW, **more}
    return build(spec, InputSpec("x", (None, spec["channels"], spec["length"])))


def feed(preprocess, *seqs):
    """Samples ``(seq, -seq)``; the first channel of each window that comes."""
    out = []
    for seq in seqs:
        made = preprocess(frame([seq, -seq], seq))
        if made is not None:
            assert made.shape == (2, 4) and np.array_equal(made[1], -made[0])
            out.append(made[0].astype(int).tolist())
    return out


class TestImage:
    def test_normalisation(self):
        data, mean, std = rgb(), [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
        made = image(scale=1 / 255, mean=mean, std=std)(frame(data))
        expected = ((data / 255 - mean) / std).transpose(2, 0, 1)
        assert made.dtype == np.float32 and np.allclose(made, expected, atol=1e-6)

    def test_scale_defaults_to_one_255th(self):
        assert np.allclose(image()(frame(np.full((8, 8, 3), 255, np.uint8))), 1)

    def test_real_numbers_count_as_bytes_over_255(self):
        data = rgb()
        made = image(mean=[0.5] * 3)
        assert np.allclose(made(frame(data)), made(frame(data / 255)), atol=1e-6)

    @pytest.mark.parametrize("resize", [6, [6, 9], [20, 10]])
    @pytest.mark.parametrize("before", [(13, 18), (18, 13), (6, 6)])
    def test_equals_torchvisions_recipe_on_pillow(self, resize, before):
        image_module = pytest.importorskip("PIL.Image")
        data = rgb(*before)
        if isinstance(resize, int):
            short, long = sorted(before)
            size = [resize, int(resize * long / short)]
            size = size if before[0] <= before[1] else size[::-1]
        else:
            size = resize
        pillow = image_module.fromarray(data).resize(size[::-1], image_module.Resampling.BILINEAR)
        top, left = (round((side - 5) / 2) for side in size)
        expected = np.asarray(pillow)[top : top + 5, left : left + 5].transpose(2, 0, 1) / 255
        made = image(shape=(None, 3, 5, 5), resize=resize, crop=[5, 5])(frame(data))
        assert np.abs(made - expected).mean() < 1e-3

    def test_colour_to_gray_equals_pillow(self):
        image_module = pytest.importorskip("PIL.Image")
        data = rgb(64, 64)
        expected = np.asarray(image_module.fromarray(data).convert("L"))
        made = image(GRAY, (None, 1, 64, 64), scale=1.0)(frame(data))
        assert np.array_equal(made[0], expected)

    @pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1)])
    def test_gray_to_colour(self, shape):
        data = RNG.integers(0, 256, shape, np.uint8)
        made = image(scale=1.0)(frame(data))
        assert all(np.array_equal(made[c], data.reshape(8, 8)) for c in range(3))

    def test_size_may_be_free(self):
        made = image(shape=(None, 3, None, None))
        assert made(frame(rgb(5, 9))).shape == (3, 5, 9)

    def test_type_of_the_input(self):
        data = rgb()
        half = build(IMAGE, InputSpec("x", (None, 3, 8, 8), "float16"))
        assert half(frame(data)).dtype == np.float16

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (
                rgb().transpose(2, 0, 1),
                r"\(3, 8, 8\): its channels are first; .*transpose\(1, 2, 0\)",
            ),
            (np.zeros((8, 8, 4), np.uint8), "4 channels; expected 1 or 3, without alpha"),
            (np.zeros((8, 8, 2), np.uint8), "2 channels; expected 1 or 3"),
            (np.zeros(8, np.uint8), r"\(8,\); expected \(H, W\) or \(H, W, 3\)"),
            (np.zeros((1, 8, 8, 3), np.uint8), r"expected \(H, W\)"),
            (np.zeros((0, 8, 3), np.uint8), r"is empty: its shape is \(0, 8, 3\)"),
            (np.zeros((9, 8, 3), np.uint8), r"shape \(3, 9, 8\), but the model takes \(3, 8, 8\)"),
            (
                np.zeros((8, 8, 3), np.uint16),
                "holds uint16; expected uint8, or real numbers in 0..1",
            ),
            (np.zeros((8, 8, 3), bool), "holds bool values"),
            (np.zeros((8, 8, 3), complex), "holds complex128 values"),
            (np.zeros((8, 8, 3), object), "holds object values"),
            (np.full((8, 8, 3), "a"), "holds <U1 values"),
            (np.full((8, 8, 3), 255.0), "real numbers from 255 to 255; expected 0..1, or uint8"),
            (np.full((8, 8, 3), -1.0), "real numbers from -1 to -1"),
            (np.full((8, 8, 3), np.nan), "has 192 values that are NaN or infinite"),
            (np.full((8, 8, 3), np.inf), "NaN or infinite"),
        ],
    )
    def test_unusable_frames(self, data, message):
        with pytest.raises(FrameError, match=message):
            image()(frame(data))

    def test_smaller_than_the_crop(self):
        made = image(shape=(None, 3, 6, 6), crop=[6, 6])
        with pytest.raises(FrameError, match="is 5x8 where it is cropped; expected at least 6x6"):
            made(frame(rgb(5, 8)))


class TestWindow:
    def test_hops(self):
        assert feed(window(), *range(8)) == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]

    @pytest.mark.parametrize("hop", [1, 3, 4, 7])
    def test_every_hop_over_a_long_stream(self, hop):
        ends = range(4, 60, hop)
        assert feed(window(hop=hop), *range(59)) == [list(range(e - 4, e)) for e in ends]

    def test_hop_defaults_to_the_length(self):
        assert feed(window(hop=None), *range(8)) == [[0, 1, 2, 3], [4, 5, 6, 7]]

    def test_no_window_spans_a_gap(self):
        made = window()
        assert feed(made, 0, 1, 2, 4, 5, 6) == []
        assert made.gaps == 1
        assert feed(made, 7) == [[4, 5, 6, 7]]

    def test_a_source_that_begins_again_is_a_gap(self):
        assert feed(window(), 0, 1, 2, 0, 1, 2, 3) == [[0, 1, 2, 3]]

    def test_a_gap_between_windows_costs_nothing(self):
        made = window(hop=4)
        assert feed(made, 0, 1, 2, 3, 6, 7, 8, 9) == [[0, 1, 2, 3], [6, 7, 8, 9]]
        assert made.gaps == 0

    def test_reset_empties_the_window(self):
        made = window()
        feed(made, 0, 1, 2)
        made.reset()
        assert feed(made, 3, 4, 5) == [] and made.gaps == 0

    def test_an_unusable_frame_empties_the_window(self):
        made = window()
        feed(made, 0, 1, 2)
        with pytest.raises(FrameError, match="frame 3 has 1 values that are NaN"):
            made(frame([np.nan, 0], 3))
        assert feed(made, 4, 5, 6) == [] and made.gaps == 1
        assert feed(made, 7) == [[4, 5, 6, 7]]

    @pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 9])
    @pytest.mark.parametrize("hop", [1, 3, 4, 9])
    def test_chunks_equal_single_samples(self, size, hop):
        stream = np.arange(45, dtype=np.float32)
        expected = feed(window(hop=hop), *range(45))
        chunked, got = window(hop=hop), []
        for seq, start in enumerate(range(0, 45, size)):
            part = stream[start : start + size]
            if len(part) == 4:
                continue  # the rest of the stream, which would pass as a whole window
            made = chunked(frame([part, -part], seq))
            if made is not None:
                got.append(made[0].astype(int).tolist())
        assert all(one in expected for one in got)
        assert chunked.missed == 0 if size <= hop else len(got) + chunked.missed <= len(expected)
        if size <= hop:
            assert got == expected[: len(got)] and len(got) >= len(expected) - 1

    def test_a_chunk_with_several_windows_gives_the_newest(self):
        made = window()
        data = np.arange(9)
        assert made(frame([data, data], 0))[0].tolist() == [4, 5, 6, 7] and made.missed == 2

    def test_a_whole_window_passes_through(self):
        made = window(mean=[1, 2], std=[2, 4])
        data = np.arange(8).reshape(2, 4)
        assert np.allclose(made(frame(data)), (data - [[1], [2]]) / [[2], [4]])

    def test_windows_do_not_share_memory(self):
        made = window()
        feed(made, 0, 1, 2)
        first = made(frame([3, -3], 3))
        before = first.copy()
        feed(made, *range(4, 20))
        assert np.array_equal(first, before)

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ([1, 2, 3], r"shape \(3,\); expected \(2,\) or \(2, t\)"),
            (np.zeros((5, 2)), "the axes are swapped, transpose it"),
            (np.zeros((2, 3, 4)), r"expected \(2,\) or \(2, t\)"),
            (3.0, r"shape \(\); expected \(2,\)"),
            ([True, False], "holds bool values"),
            (["1", "2"], "holds <U1 values"),
            ([1e300, 0], "too large for float32"),
            (np.zeros((2, 0)), "is empty"),
        ],
    )
    def test_unusable_frames(self, data, message):
        with pytest.raises(FrameError, match=message):
            window()(frame(data))


class TestNone:
    def plain(self, shape=(None, 3, 4, 5), dtype="float32"):
        return build({"kind": "none"}, InputSpec("x", shape, dtype))

    def test_cast_and_copy(self):
        data = RNG.random((3, 4, 5))
        made = self.plain()(frame(data))
        assert made.dtype == np.float32 and np.allclose(made, data)
        same = data.astype(np.float32)
        assert not np.shares_memory(self.plain()(frame(same)), same)

    def test_free_sizes(self):
        assert self.plain((None, 3, None))(frame(np.zeros((3, 7)))).shape == (3, 7)

    def test_lists_are_arrays_too(self):
        assert self.plain((None, 2))(Frame([1, 2], 0.0, 0)).tolist() == [1, 2]

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (np.zeros((4, 5, 3)), r"the channels are last, use data.transpose\(2, 0, 1\)"),
            (np.zeros((5, 3, 4)), r"the channels are first, use data.transpose\(1, 2, 0\)"),
            (np.zeros((3, 4, 6)), r"\(3, 4, 6\), but the model takes \(3, 4, 5\)$"),
            (np.zeros((1, 3, 4, 5)), r"but the model takes \(3, 4, 5\)"),
            (np.full((3, 4, 5), 1e300), "values too large for float32"),
            ([[1], [1, 2]], "is no array"),
            (np.full((3, 4, 5), None), "holds object values"),
        ],
    )
    def test_unusable_frames(self, data, message):
        with pytest.raises(FrameError, match=message):
            self.plain()(Frame(data, 0.0, 0))

    def test_axes_swapped(self):
        with pytest.raises(FrameError, match="the axes are swapped, transpose it"):
            self.plain((None, 6, 128))(frame(np.zeros((128, 6))))

    def test_integer_inputs(self):
        made = self.plain((None, 2), "uint8")
        assert made(frame([1, 255])).dtype == np.uint8
        with pytest.raises(FrameError, match="values outside the range of uint8"):
            made(frame([1, 256]))
        with pytest.raises(FrameError, match="has real numbers, but the model takes uint8"):
            made(frame([0.5, 1]))


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        ({"kind": "audio"}, (None, 2), "kind 'audio'; expected image, window, none"),
        ({}, (None, 2), "kind None"),
        ({"kind": "none", "mean": [0]}, (None, 2), "none preprocess has unknown keys mean"),
        ({"kind": "image"}, (None, 3, 8, 8), r"malformed \(KeyError\('channels'\)\)"),
        ({**IMAGE, "layout": "HWC"}, (None, 3, 8, 8), "must have layout CHW"),
        ({**IMAGE, "colour": "GRAY"}, (None, 3, 8, 8), "1 channel GRAY or 3 RGB"),
        ({**IMAGE, "channels": 4, "colour": None}, (None, 4, 8, 8), "1 channel GRAY or 3 RGB"),
        ({**IMAGE, "crop": [7, 8]}, (None, 3, 8, 8), r"size \(7, 8\), but its model takes"),
        ({**IMAGE, "resize": [7, 8]}, (None, 3, 8, 8), r"size \(7, 8\), but its model takes"),
        ({**IMAGE, "resize": 0}, (None, 3, 8, 8), "malformed"),
        ({**IMAGE, "resize": [1, 2, 3]}, (None, 3, 8, 8), r"resize \[1, 2, 3\]"),
        ({**IMAGE, "mean": [0, 0]}, (None, 3, 8, 8), "needs 3 finite numbers as mean"),
        ({**IMAGE, "std": [1, 0, 1]}, (None, 3, 8, 8), "needs 3 finite numbers as mean"),
        ({**IMAGE, "std": ["a"] * 3}, (None, 3, 8, 8), "malformed"),
        (IMAGE, (None, 1, 8, 8), "its model takes"),
        (IMAGE, (None, 8), "its model takes"),
        (WINDOW, (None, 2, 5), r"windows \(2, 4\) every 2, but its model takes \(2, 5\)"),
        ({**WINDOW, "hop": -1}, (None, 2, 4), "every -1"),
        ({**WINDOW, "length": "long"}, (None, 2, 4), "malformed"),
    ],
)
def test_bundles_that_contradict_themselves(spec, shape, message):
    with pytest.raises(BundleError, match=message):
        build(spec, InputSpec("x", shape))
