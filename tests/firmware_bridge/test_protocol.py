"""The protocol: every message there and back, damage of every kind, and what a receiver must refuse."""

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.bridge_mutations import SCHEMA, mutate, sample_frames, survivors
from tta.firmware_bridge.framing import crc16, decode, encode
from tta.firmware_bridge.protocol import (
    Ack,
    Channel,
    Data,
    Decoder,
    Greet,
    Log,
    Norm,
    Ping,
    Schema,
    Status,
    body,
    frame,
    gap,
    scaled,
)
from tta.firmware_bridge.vectors import SCHEMA as VECTOR_SCHEMA
from tta.firmware_bridge.vectors import header, vectors

VECTORS = vectors()


def same(a, b):
    if isinstance(a, Data):
        return (
            isinstance(b, Data)
            and np.array_equal(a.samples, b.samples)
            and a._replace(samples=None) == b._replace(samples=None)
        )
    return a == b


def decoder(host, **options):
    made = Decoder(host=host, **options)
    made.trust(VECTOR_SCHEMA)
    return made


@pytest.mark.parametrize("vector", VECTORS, ids=[v.name for v in VECTORS])
def test_vectors_come_back(vector):
    [received] = decoder(not vector.host).feed(vector.wire)
    assert (received.seq, received.t_us) == (vector.seq, vector.t_us)
    assert same(received.message, vector.message)


@pytest.mark.parametrize("vector", VECTORS, ids=[v.name for v in VECTORS])
def test_every_truncation_and_extension_is_refused(vector):
    """Also where the crc is right: a length must be what the payload's own counts say."""
    whole = decode(vector.wire).data[:-2]
    seed = 0 if whole[1] & 0x7F in (1, 8, 9) else VECTOR_SCHEMA.hash
    for n in [*range(len(whole)), len(whole) + 1]:
        damaged = (whole + b"\0")[:n]
        receiver = decoder(not vector.host)
        sealed = damaged + crc16(damaged, seed).to_bytes(2, "big")
        assert receiver.feed(encode(sealed)) == [] and receiver.bad == 1


def test_a_vector_written_by_hand():
    """PING of the host with the bytes 1, 0: header, payload and crc put together here, bit by bit."""
    plain = bytes([1, 0x89, 0x34, 0x12, 0x78, 0x56, 0, 0, 2, 1, 0])
    register = 0
    for byte in plain:
        register ^= byte << 8
        for _ in range(8):
            register = ((register << 1) ^ (0x1021 if register & 0x8000 else 0)) & 0xFFFF
    assert register >> 8 and register & 255
    tail = [register >> 8, register & 255]
    wire = bytes([0, 7, 1, 0x89, 0x34, 0x12, 0x78, 0x56, 1, 3, 2, 1, 3, *tail, 0])
    assert frame(Ping(b"\1\0"), 0x1234, 0x5678, host=True) == wire


def test_c_header_holds_every_vector():
    text = header()
    for vector in VECTORS:
        assert f"vector_{vector.name}[]" in text and f"0x{vector.wire[1]:02x}" in text


def test_two_logs_whose_delimiter_is_damaged_are_not_one():
    """Each crc leaves 0 in the register, so with seed 0 the join of two frames passes the crc alone."""
    first, second = (frame(Log(text), k, 0, host=False) for k, text in enumerate(("ab", "cd")))
    joined = encode(decode(first).data + b"\0" + decode(second).data)
    assert crc16(decode(joined).data) == 0
    receiver = Decoder()
    assert receiver.feed(joined) == [] and receiver.bad == 1


def test_another_schema_takes_no_frame():
    data = frame(VECTORS[1].message, 1, 0, VECTOR_SCHEMA.hash, host=False)
    stranger = Decoder()
    assert stranger.feed(data) == [] and stranger.bad == stranger.early == 1
    stranger.trust(Schema((Channel("ax", "m/s²"), Channel("gz"))))
    assert stranger.feed(data) == [] and stranger.bad == 2 and stranger.early == 1


def test_hello_brings_the_schema():
    receiver = Decoder()
    receiver.feed(VECTORS[0].wire)
    assert receiver.schema == VECTOR_SCHEMA
    assert [type(r.message) for r in receiver.feed(VECTORS[1].wire)] == [Data]


def test_the_rate_is_no_part_of_the_hash_and_all_else_is():
    schema = VECTOR_SCHEMA
    assert dataclasses.replace(schema, rate_mhz=1).hash == schema.hash
    first, second = schema.channels
    changed = [
        dataclasses.replace(schema, kind=1),
        dataclasses.replace(schema, channels=(first,)),
        dataclasses.replace(schema, channels=(second, first)),
        *(
            dataclasses.replace(
                schema, channels=(dataclasses.replace(first, **{name: value}), second)
            )
            for name, value in dict(name="x", unit="x", scale=2, lowest=-1, highest=1).items()
        ),
    ]
    assert len({schema.hash, *(s.hash for s in changed)}) == 1 + len(changed)


def test_an_echo_is_no_message():
    receiver = Decoder(host=True)
    assert receiver.feed(frame(Greet(), 0, 0, host=True)) == [] and receiver.echoes == 1


@pytest.mark.parametrize(
    "plain",
    [
        b"\2" + bytes(12),  # another version
        b"\1\x0b" + bytes(10),  # another type
        b"\1\2" + bytes(7),  # shorter than any frame
    ],
)
def test_what_it_does_not_know_is_bad(plain):
    receiver = decoder(True)
    seed = VECTOR_SCHEMA.hash
    assert receiver.feed(encode(plain + crc16(plain, seed).to_bytes(2, "big"))) == []
    assert receiver.bad == 1


def test_hostile_payloads_are_refused():
    hello = VECTORS[0].message
    nan = dataclasses.replace(hello, schema=Schema((Channel("a", "", float("nan")),), 0, 0))
    sixteen = Schema((Channel("a"),) * 17)
    for message in (nan, dataclasses.replace(hello, schema=sixteen)):
        assert Decoder().feed(frame(message, 0, 0, host=False)) == []
    beyond = Data(0, np.zeros((1, 3), "<i2"), 0b111)
    infinite = Data(0, np.zeros((1, 2), "<i2"), 0b11, 0, float("inf"))
    for message in (beyond, infinite):
        receiver = decoder(True)
        assert receiver.feed(frame(message, 0, 0, VECTOR_SCHEMA.hash, host=False)) == []
        assert receiver.bad == 1


def test_oversize_frames_are_skipped_and_counted():
    receiver = Decoder(largest=40)
    long, good = frame(Log("x" * 99), 0, 0, host=False), frame(Log("y"), 1, 0, host=False)
    assert [r.seq for r in receiver.feed(long + good)] == [1]
    assert receiver.oversize == receiver.bad == 1


def test_gaps_count_modulo_2_16():
    assert [gap(3, 4), gap(3, 6), gap(65535, 0), gap(65534, 1), gap(None, 5)] == [0, 2, 0, 2, 0]


def test_scaled_values():
    samples = np.array([[1, -2]], "<i2")
    assert scaled(Data(0, samples, 3, 0, 0.5)).tolist() == [[0.5, -1.0]]
    assert scaled(Data(0, samples, 3)).dtype == np.float32


def test_norm_vectors_in_parts():
    norm = Norm(9, 0, tuple((k, 0x4000 + k, 10) for k in range(5)), 0.25)
    parts = norm.parts(2)
    assert [(p.first, len(p.packed)) for p in parts] == [(0, 16), (2, 16), (4, 8)]
    assert b"".join(p.packed for p in parts) == norm.packed
    assert {p.crc for p in parts} == {crc16(norm.packed, 0xFFFF)}
    assert [p.total for p in Norm(0).parts()] == [0]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.binary(max_size=200), max_size=8))
def test_no_bytes_raise(pieces):
    for host in (False, True):
        receiver = decoder(host, largest=100)
        for piece in pieces:
            receiver.feed(piece)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=100), st.lists(st.integers(0, 200), max_size=3))
def test_the_first_intact_frame_after_any_noise_decodes(noise, cuts):
    """Whatever comes before it, in whatever pieces: at most the noise itself is lost."""
    good = frame(Ack(5, 6), 7, 8, VECTOR_SCHEMA.hash, host=False)
    receiver = decoder(True)
    wire, at, found = noise + good, 0, []
    for end in [*sorted(cuts), len(wire)]:
        found += receiver.feed(wire[at:end])
        at = max(at, end)
    assert found[-1].message == Ack(5, 6)


@pytest.mark.parametrize(
    "kind", ["burst", "wire_burst", "random", "flip", "drop", "insert", "cut", "shuffle"]
)
def test_mutated_streams(kind):
    """A few thousand of each; ``python -m tests.bench.bridge_mutations`` runs a million."""
    rng = random.Random(kind)
    frames = sample_frames(rng)
    seen = [survivors(*mutate(kind, frames, rng)) for _ in range(2000)]
    assert sum(s.lost for s in seen) == 0
    undetected = sum(s.undetected for s in seen)
    assert undetected == 0 if kind == "burst" else undetected <= 2


def test_the_harness_sees_what_passes():
    """With a frame exchanged for another intact one, it must say so."""
    frames = sample_frames(random.Random(0))
    other = body(Status(uptime_s=1), 77, 0, SCHEMA.hash, host=False)
    wires = [encode(b) for b in frames]
    seen = survivors(frames, [*wires[:3], encode(other), *wires[4:]], {3})
    assert seen.undetected == 1 and seen.lost == 0
    missing = survivors(frames, [*wires[:2], *wires[3:]], set())
    assert missing.lost == 1
