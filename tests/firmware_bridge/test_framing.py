"""COBS against a decoder written as its paper says it, and the property that damage ends at a zero."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tta.firmware_bridge.framing import Splitter, crc16, decode, encode

ZEROS = st.lists(st.sampled_from([b"\0", b"\1", b"\xff", b"a" * 253, b"b" * 254, b"c" * 300])).map(
    b"".join
)
BODIES = st.lists(st.binary(min_size=1, max_size=80) | ZEROS.filter(len), max_size=6)


def plain_decode(piece):
    """One frame, code by code; None where a code leads beyond its end."""
    out, at = bytearray(), 0
    while at < len(piece):
        code = piece[at]
        if at + code > len(piece):
            return None
        out += piece[at + 1 : at + code]
        at += code
        if code != 255 and at < len(piece):
            out.append(0)
    return bytes(out)


def cut(bodies):
    return [bodies.data[a:b] for a, b in zip(bodies.bounds, bodies.bounds[1:])]


@settings(deadline=None)
@given(st.binary(max_size=1200) | ZEROS)
def test_one_body_comes_back(body):
    wire = encode(body)
    assert wire[0] == wire[-1] == 0 and 0 not in wire[1:-1]
    assert len(wire) <= len(body) + len(body) // 254 + 3
    assert plain_decode(wire[1:-1]) == body
    assert b"".join(cut(decode(wire))) == body


@settings(deadline=None, max_examples=300)
@given(BODIES, st.binary(max_size=30))
def test_any_bytes_are_decoded_as_the_paper_says(bodies, noise):
    wire = b"".join(map(encode, bodies)) + noise + b"\0"
    expected = [plain_decode(piece) for piece in wire.split(b"\0") if piece]
    got = decode(wire)
    assert cut(got) == [body for body in expected if body is not None]
    assert got.bad == expected.count(None)


@pytest.mark.parametrize("fill", [0, 1, 255])
def test_large_chunks_are_cut_between_frames(fill):
    bodies = [bytes([fill]) * n for n in (1, 5000, 300, 70_000, 254, 255, 40_000)]
    assert cut(decode(b"".join(map(encode, bodies)))) == bodies


@settings(deadline=None)
@given(BODIES, st.lists(st.integers(0, 400), max_size=5))
def test_cuts_do_not_matter(bodies, cuts):
    wire = b"".join(map(encode, bodies))
    splitter = Splitter()
    found, at = [], 0
    for end in [*sorted(cuts), len(wire)]:
        found += cut(splitter.feed(wire[at:end]))
        at = max(at, end)
    assert found == [body for body in bodies if body]
    assert splitter.bad == splitter.oversize == 0


def test_long_frames_are_skipped_and_never_held():
    good, long = encode(b"good"), encode(b"x" * 101)
    whole = Splitter(largest=100)
    assert cut(whole.feed(good + long + good + long + long + good)) == [b"good"] * 3
    assert whole.oversize == 3
    slow = Splitter(largest=100)
    found = [body for byte in good + long + good for body in cut(slow.feed(bytes([byte])))]
    assert found == [b"good"] * 2 and slow.oversize == 1
    endless = Splitter(largest=100)
    for _ in range(50):
        endless.feed(b"x" * 1000)
        assert len(endless._held) <= endless.longest
    assert cut(endless.feed(b"\0" + good)) == [b"good"] and endless.oversize == 1
    fits = Splitter(largest=1000)
    assert cut(fits.feed(encode(b"x" * 1000))) == [b"x" * 1000] and fits.oversize == 0


def test_crc_is_xmodem():
    assert crc16(b"123456789") == 0x31C3
    register = 0x1234
    for byte in b"tta":  # bit by bit, as the polynomial division has it
        register ^= byte << 8
        for _ in range(8):
            register = ((register << 1) ^ (0x1021 if register & 0x8000 else 0)) & 0xFFFF
    assert crc16(b"tta", 0x1234) == register


def test_no_burst_of_16_bits_passes_the_crc():
    """By linearity an error passes iff its own remainder is 0, whatever the body and the seed are."""
    patterns = np.arange(1, 1 << 16)
    for shift in range(8):  # bursts that begin at any bit of a byte
        for pattern in patterns[:: 1 if shift == 0 else 37]:
            error = (int(pattern) << shift).to_bytes(3, "big")
            assert crc16(error + bytes(2)) != 0
    body = bytes(range(60))
    whole = body + crc16(body, 77).to_bytes(2, "big")
    assert crc16(whole, 77) == 0 and crc16(whole, 78) != 0
