"""The codec of text lines: any bytes, any cuts, any separators."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tta.firmware_bridge.csv_codec import CsvCodec

LINES = st.lists(
    st.sampled_from(
        [b"1,2,3", b"4;5;6", b"7 8 9", b"-1.5e3\t.5\t+2.", b"1,2", b"nan,1,2", b"x,y,z", b"", b"#a"]
    )
    | st.binary(max_size=12),
    max_size=12,
).map(b"\n".join)


def decode(*pieces, **options):
    codec = CsvCodec(**options)
    samples = [sample for piece in pieces for sample in codec.feed(piece)]
    return codec, [(sample.seq, sample.values.tolist()) for sample in samples]


def outcome(*pieces, **options):
    codec, samples = decode(*pieces, **options)
    counts = codec.samples, codec.bad_lines, codec.headers, codec.last_bad, codec.channels
    return samples, counts


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80)), st.sampled_from([None, 1, 3]), st.booleans())
def test_no_bytes_raise(pieces, channels, skip_first):
    codec = CsvCodec(channels, skip_first=skip_first, longest=32)
    for piece in pieces:
        for sample in codec.feed(piece):
            assert sample.values.shape == (codec.channels,)
            assert sample.values.dtype == np.float32 and np.isfinite(sample.values).all()
    assert len(codec._line) <= 32


@settings(deadline=None)
@given(LINES, st.booleans())
def test_cuts_do_not_matter(data, skip_first):
    options = {"skip_first": skip_first, "longest": 16}
    whole = outcome(data, **options)
    assert outcome(*(data[i : i + 1] for i in range(len(data))), **options) == whole
    for cut in range(len(data) + 1):
        assert outcome(data[:cut], data[cut:], **options) == whole


@settings(deadline=None)
@given(
    st.lists(st.floats(-65536, 65536, width=32), min_size=1, max_size=6), st.sampled_from(",;\t ")
)
def test_numbers_come_back(values, separator):
    line = separator.join(map(repr, values)) + "\r\n"
    _, samples = decode(line.encode())
    assert samples == [(0, [float(np.float32(value)) for value in values])]


@pytest.mark.parametrize(
    "line",
    [
        b"1,2,3",
        b"1;2;3",
        b"1 2 3",
        b"1\t2\t3",
        b" 1 ,  2 , 3 ",
        b"1,2,3,",
        b"x:1,y:2,z:3",
        b"x:1 y:2 z:3",
    ],
)
def test_separators(line):
    assert decode(line + b"\n")[1] == [(0, [1, 2, 3])]


@pytest.mark.parametrize(
    "line",
    [
        b"1,2",
        b"1,2,3,4",
        b"1,,3",
        b"1,two,3",
        b"nan,1,2",
        b"nan,nan,nan",
        b"inf,1,2",
        b"-inf,-inf,-inf",
        b"1e39,1,2",
        b"1_0,1,2",
        b"0x1,1,2",
        b"1,2,3\x00",
        b"1,2,\xff",
        "1,2,٣".encode(),
        b"12:30:01,2,3",
        b"Temp: 21 C",
    ],
)
def test_bad_lines_are_counted(line):
    codec, samples = decode(b"1,2,3\n" + line + b"\n4,5,6\n")
    assert samples == [(0, [1, 2, 3]), (2, [4, 5, 6])]
    assert codec.bad_lines == 1 and codec.last_bad == line[:40]


@pytest.mark.parametrize("line", [b"ax,ay,az", b"accX (g);accY (g)", b"Starting up...", b"time ax"])
def test_headers_are_tolerated_at_any_time(line):
    codec, samples = decode(line + b"\n1,2\n" + line + b"\n3,4\n")
    assert samples == [(0, [1, 2]), (1, [3, 4])]
    assert codec.headers == 2 and codec.bad_lines == 0


def test_known_channels_refuse_the_first_line_too():
    codec, samples = decode(b"1,2\n1,2,3\n", channels=3)
    assert samples == [(1, [1, 2, 3])] and codec.bad_lines == 1


def test_an_endless_line_is_one_bad_line():
    codec = CsvCodec()
    for _ in range(100):
        codec.feed(b"1," * 1000)
        assert len(codec._line) <= 4096
    assert [s.values.tolist() for s in codec.feed(b"\n1,2\n")] == [[1, 2]]
    assert codec.bad_lines == 1 and len(codec.last_bad) <= 40


def test_the_rest_of_a_line_is_skipped():
    assert decode(b"3.4,5\n1,2\n", skip_first=True)[1] == [(0, [1, 2])]
    assert decode(b"9" * 100 + b"\n1,2\n", skip_first=True, longest=10)[1] == [(0, [1, 2])]
