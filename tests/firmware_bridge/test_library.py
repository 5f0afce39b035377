"""The C library against the Python protocol, byte for byte, and what it must refuse."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.firmware_bridge.library import FIRMWARE, HERE, STRICT, Board, build, shared, tool
from tta.firmware_bridge import normalization
from tta.firmware_bridge.framing import encode
from tta.firmware_bridge.messages import (
    BAD_VECTOR,
    DONE,
    FLOAT32,
    NORM,
    OUT_OF_RANGE,
    TOO_SOON,
    UNSUPPORTED,
)
from tta.firmware_bridge.protocol import (
    Ack,
    Channel,
    Config,
    Data,
    Decoder,
    Grant,
    Greet,
    Log,
    Norm,
    Ping,
    Schema,
    Status,
    Time,
    frame,
)
from tta.firmware_bridge.vectors import Q15, SAMPLES, SCHEMA, vectors

VECTORS = {v.name: v for v in vectors()}
FLOATS = Schema((Channel("ax", "g", 1, -2, 2), Channel("gz", "", 1, -2, 2)), FLOAT32, 50_000)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return shared(tmp_path_factory.mktemp("library"))


@pytest.fixture
def board(library):
    made = Board(library)
    yield made
    made.free()


def ours(message, seq=100, schema=SCHEMA):
    return frame(message, seq, 0, schema.hash, host=True)


def theirs(message, seq, t_us=0, schema=SCHEMA):
    return frame(message, seq, t_us, schema.hash, host=False)


def heard(wire, schema=SCHEMA):
    decoder = Decoder()
    decoder.trust(schema)
    found = decoder.feed(wire)
    assert decoder.bad == 0
    return [r.message for r in found]


def acks(wire):
    return [m for m in heard(wire) if isinstance(m, Ack)]


# ------------------------------------------------------------------ what it sends


def test_hello_is_the_vector(board):
    assert board.poll() == VECTORS["hello"].wire


def drive_to(board, sample):
    """Let the device count up to a sample without a frame on the line."""
    while board.counts["samples"] < sample:
        board.push(np.zeros((1, 2), np.int16))


def test_int16_data_is_the_vector(library):
    board = Board(library, ring=3)
    board.time(0x12345678)
    board.poll()
    drive_to(board, 1000)
    board.push(SAMPLES)
    board.sequence(1)
    assert board.poll() == (VECTORS["data_int16"].wire)
    assert board.counts["overruns"] == 1000
    board.free()


def test_normalized_data_is_the_vector(library):
    board = Board(library, ring=3)
    board.time(0xFFFFFFFF)
    board.poll()
    drive_to(board, 3)
    board.poll()
    [ack] = acks(board.poll(ours(Q15.parts()[0])))
    assert (ack.code, ack.norm_epoch, ack.first) == (DONE, 7, 3)
    board.sequence(2)
    board.push(SAMPLES)
    assert board.poll() == VECTORS["data_norm"].wire
    board.free()


def test_one_channel_is_the_vector(library):
    board = Board(library, ring=3)
    board.poll(ours(Config(mask=0b10)))
    drive_to(board, 5)
    board.push(SAMPLES)
    board.time(1)
    board.sequence(3)
    assert board.poll() == VECTORS["data_one_channel"].wire
    board.free()


def test_long_runs_are_the_vector(library):
    """First sample 0x01010101 cannot be reached by counting, so the run begins at another number."""
    board = Board(library, tx=700, ring=150, window=150)
    board.poll()
    data = Data(0, np.full((150, 2), 0x0101, "<i2"), 0b11)
    board.push(data.samples)
    assert board.poll() == theirs(data, 1)
    board.free()


def test_bare_status_is_the_vector(library):
    board = Board(library, sentinel=0)
    board.poll()
    board.time(2_000_001)
    board.sequence(8)
    found = board.poll()
    assert found == theirs(Status(uptime_s=2, sent=1), 8, 2_000_001)
    assert heard(VECTORS["status_bare"].wire) == [Status()]
    board.free()


def test_a_full_status(board):
    board.poll()
    board.source(0, 100, 10)
    board.source(1, -300, 5)
    board.push(np.zeros((70, 2), np.int16) + np.int16([100, -300]))
    board.health(3300, -1250)
    board.poll(b"noise\0", room=0)
    board.time(1_000_000)
    [status] = [m for m in heard(board.poll()) if isinstance(m, Status)]
    assert (status.uptime_s, status.samples, status.refused) == (1, 70, 1)
    assert (status.overruns, status.supply_mv, status.temperature_cc) == (6, 3300, -1250)
    assert status.mean == (100, -300) and len(status.var) == 2


def test_log_time_and_pong_are_the_vectors(board):
    board.poll()
    board.time(4)
    board.sequence(11)
    assert board.log(2, "sensor läuft".encode()) == 1
    assert board.log(2, b"the line is busy") == 0 and board.counts["drops"] == 1
    assert board.poll() == VECTORS["log"].wire
    board.sequence(65535)
    board.time(5)
    assert board.poll(ours(Ping(b"\0\1\2"))) == VECTORS["pong"].wire
    board.time(0x00010203)
    board.sequence(10)
    [answer] = heard(board.poll(VECTORS["time_question"].wire))
    assert answer == Time(0xDEADBEEF, 0x00010203)
    assert board.poll(ours(Ping())) == theirs(Ping(), 11, 0x00010203)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(-32768, 32767), st.integers(-32768, 32767)), min_size=3, max_size=3
    ),
    st.integers(0, 65535),
    st.integers(0, 2**32 - 1),
)
def test_any_samples_byte_for_byte(library, samples, seq, t_us):
    board = Board(library, sentinel=0)
    board.time(t_us)
    board.poll()
    board.sequence(seq)
    board.push(np.array(samples, np.int16))
    assert board.poll() == theirs(Data(0, np.array(samples, "<i2"), 3), seq, t_us)
    board.free()


@settings(deadline=None, max_examples=60)
@given(
    st.integers(-32768, 32767),
    st.integers(0x4000, 0x7FFF),
    st.integers(9, 21),
    st.lists(st.integers(-32768, 32767), min_size=3, max_size=3),
)
def test_fixed_point_byte_for_byte(library, mean, gain, shift, samples):
    board = Board(library, sentinel=0)
    board.poll()
    norm = Norm(1, 0, ((mean, gain, shift), (0, 0x4000, 14)), 0.5)
    [ack] = acks(board.poll(ours(norm.parts()[0])))
    assert ack.code == DONE
    values = np.array([samples, samples], "<i2").T
    board.push(values)
    assert board.poll() == theirs(Data(0, normalization.apply(norm, values), 3, 1, 0.5), 2)
    board.free()


def test_float_samples_byte_for_byte(library, rng):
    board = Board(library, real=1, sentinel=0)
    board.poll()
    values = rng.standard_normal((3, 2)).astype("<f4")
    board.push(values)
    assert board.poll() == theirs(Data(0, values, 3), 1, 0, FLOATS)
    norm = normalization.make(9, np.array([0.5, -1.0]), np.array([2.0, 0.25]), FLOATS)
    board.poll(ours(norm.parts()[0], 1, FLOATS))
    board.push(values)
    assert board.poll() == theirs(
        Data(3, normalization.apply(norm, values).astype("<f4"), 3, 9), 3, 0, FLOATS
    )
    board.free()


# ------------------------------------------------------------------ commands


def test_a_command_is_done_once_however_often_it_comes(board):
    board.poll()
    command = ours(Config(window=2), 7)
    first = board.poll(command)
    assert acks(first) == [Ack(7, 4, DONE)]
    board.push(np.ones((2, 2), np.int16))
    again = heard(board.poll(command))
    assert [type(m) for m in again] == [Ack, Data] and again[0] == Ack(7, 4, DONE)
    assert again[1].samples.shape == (2, 2)


def test_an_ack_lost_in_mid_switch_changes_nothing(board):
    board.poll()
    command = ours(Q15.parts()[0], 9)
    lost = acks(board.poll(command))
    board.push(SAMPLES)
    data = heard(board.poll())
    repeated = acks(board.poll(command))
    assert lost == repeated == [Ack(9, NORM, DONE, 7, 0)]
    assert data[0].norm_epoch == 7


def test_a_vector_in_parts_is_taken_as_a_whole(board):
    board.poll()
    one, two = Q15.parts(1)
    assert [a.norm_epoch for a in acks(board.poll(ours(one, 1)))] == [0]
    assert [a.norm_epoch for a in acks(board.poll(ours(two, 2)))] == [7]
    other, _ = Norm(8, 0, Q15.channels, 0.5).parts(1)
    board.time(2_000_000)
    board.poll()
    board.poll(ours(other, 3))
    assert [a.code for a in acks(board.poll(ours(two, 4)))] == [BAD_VECTOR]  # of another epoch


def code_of(board, norm, seq=50):
    [ack] = acks(board.poll(ours(norm, seq)))
    return ack.code, ack.norm_epoch


def test_norms_that_are_refused(library, board):
    off = Board(library, norm=0)
    off.poll()
    assert code_of(off, Q15.parts()[0]) == (UNSUPPORTED, 0)
    off.free()
    board.poll()
    [whole] = Q15.parts()
    damaged = type(whole)(7, 0, 2, whole.crc ^ 1, whole.scale, whole.packed)
    assert code_of(board, damaged, 1) == (BAD_VECTOR, 0)
    for k, channel in enumerate(
        [(0, 0x3FFF, 10), (0, 0x8000, 10), (0, 0x4000, 8), (0, 0x4000, 22)]
    ):
        [part] = Norm(5, 0, ((0, 0x4000, 14), channel)).parts()
        assert code_of(board, part, 10 + k) == (OUT_OF_RANGE, 0)
    [three] = Norm(5, 0, ((0, 0x4000, 14),) * 3).parts()
    assert code_of(board, three, 20) == (OUT_OF_RANGE, 0)
    assert code_of(board, whole, 21) == (DONE, 7)
    assert code_of(board, Norm(8, 0, Q15.channels).parts()[0], 22) == (TOO_SOON, 7)
    board.time(1_000_000)
    board.poll()
    far = Norm(8, 0, ((0, 0x4000, 14), (0, 0x4000, 10)))  # 32-fold at once, and 32 is too many
    assert code_of(board, far.parts()[0], 23) == (OUT_OF_RANGE, 7)
    assert code_of(board, Norm(0).parts()[0], 24) == (DONE, 0)  # raw is never refused


def test_configurations_that_are_refused(board):
    board.poll()
    for k, config in enumerate(
        [Config(window=65), Config(mask=0b100), Config(rate_mhz=50_001), Config(window=65535)]
    ):
        [ack] = acks(board.poll(ours(config, k)))
        assert ack.code == OUT_OF_RANGE
    [ack] = acks(board.poll(ours(Config(rate_mhz=25_000, heartbeat_ms=10), 9)))
    assert ack.code == DONE
    board.time(10_000)
    assert Status in map(type, heard(board.poll()))


def test_credit_limits_data_and_nothing_else(board):
    board.poll()
    board.poll(ours(Grant(1)))
    board.push(np.ones((9, 2), np.int16))
    assert [type(m) for m in heard(board.poll())] == [Data]
    board.time(1_000_000)
    [status] = heard(board.poll())
    assert status.waiting
    assert [type(m) for m in heard(board.poll(ours(Grant(3))))] == [Data, Data]
    board.push(np.ones((3, 2), np.int16))
    assert board.poll() == b""
    assert [type(m) for m in heard(board.poll(ours(Grant())))] == [Data]


def test_greeting_forgets_the_last_command_and_the_credit(board):
    board.poll()
    board.poll(ours(Config(window=2), 7) + ours(Grant(0)))
    [hello] = heard(board.poll(ours(Greet())))
    assert not hello.booted
    board.push(np.ones((3, 2), np.int16))
    assert [type(m) for m in heard(board.poll(ours(Config(window=3), 7)))] == [Ack, Data]


# ------------------------------------------------------------------ damage


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=300), st.booleans())
def test_any_noise_then_a_question(library, noise, cut):
    board = Board(library, rx=64)
    board.poll()
    out = board.poll(noise[: len(noise) // 2 if cut else None])
    if cut:
        out += board.poll(noise[len(noise) // 2 :])
    board.sequence(0)
    assert board.poll(ours(Ping(b"?"))) == theirs(Ping(b"?"), 0)
    board.free()


def test_refused_frames_are_counted(board):
    board.poll()
    wrong = [
        ours(Config(window=1), schema=FLOATS),  # another schema
        encode(b"\2" + bytes(20)),  # another version
        b"\0\5\1\0",  # a code beyond the end
        frame(Log("to a device"), 0, 0, host=True),
        ours(Ping(b"x" * 16)).replace(b"xxx", b"xyx"),
        b"\0" + b"\xfe" * 600 + b"\0",  # longer than the buffer
    ]
    board.poll(b"".join(wrong))
    assert board.counts["refused"] == len(wrong)
    board.poll(theirs(Ping(b"echo"), 0))
    assert board.counts["refused"] == len(wrong)  # an echo is no damage


def test_a_slow_line_gets_every_byte_once(library):
    board = Board(library, sentinel=0)
    board.poll()
    board.push(SAMPLES)
    wire = b"".join(board.poll(room=1) for _ in range(100))
    assert wire == theirs(Data(0, SAMPLES, 3), 1)
    board.free()


def test_buffers_that_are_too_small(library):
    for options in (dict(tx=65), dict(tx=70), dict(rx=27), dict(window=65), dict(window=0)):
        with pytest.raises(ValueError):
            Board(library, **options)
    with pytest.raises(ValueError):
        Board(library, real=1, sentinel=1)  # it watches steps, of which float samples have none


def test_a_buffer_that_cuts_the_schema_is_too_small(library):
    """Wherever it is cut, even where not one byte of it has room."""
    name = b"n" * 200
    whole = len(VECTORS["hello"].wire) + 220  # more than enough
    fits = [library.init_with_name(name, tx) for tx in range(66, whole)]
    assert fits == sorted(fits) and fits[0] == 0 and fits[-1] == 1
    # The header, 8 bytes, the name, the version, the schema with its two channels, the crc; one to spare.
    assert fits.index(1) + 66 == 8 + 8 + 201 + 4 + len(SCHEMA.pack()) + 2 + 1


# ------------------------------------------------------------------ sentinel


def run_sentinel(board, samples):
    """Blocks of 64 after which it says that a channel moved, by its early heartbeats."""
    board.push(samples)
    board.time(10**6)
    return [m for m in heard(board.poll()) if isinstance(m, Status)][-1]


def test_the_sentinel_is_silent_at_the_source(board, rng):
    board.poll()
    for k in (0, 1):
        board.source(k, 100, 50)
    status = run_sentinel(board, rng.normal(100, 50, (20_000, 2)).round())
    assert not status.drifting and status.moved == 0
    assert np.allclose(status.mean, 100, atol=25) and np.allclose(status.var, 2500, rtol=0.5)


@pytest.mark.parametrize("change", [(90, 50), (100 + 60, 50), (100, 150), (100, 10)])
def test_the_sentinel_wakes_the_host(board, rng, change):
    board.poll()
    board.source(0, 100, 50)
    board.source(1, 100, 50)
    samples = rng.normal(100, 50, (4000, 2)).round()
    samples[1000:, 1] = rng.normal(*change, 3000).round()
    status = run_sentinel(board, samples)
    small = change == (90, 50)
    assert status.drifting is not small and status.moved == (0 if small else 0b10)


@pytest.mark.parametrize("sd", [2, 3, 5, 50])
def test_the_sentinel_finds_a_dead_channel_however_fine_its_scale(board, rng, sd):
    board.poll()
    board.source(0, 100, sd)
    board.source(1, 100, sd)
    samples = rng.normal(100, sd, (6400, 2)).round()
    samples[3200:, 1] = 100
    assert run_sentinel(board, samples[:3200]).moved == 0
    board.push(samples[3200:])
    board.time(2 * 10**6)
    assert [m for m in heard(board.poll()) if isinstance(m, Status)][-1].moved == 0b10


def test_the_running_variance_is_exact_far_from_the_source(board, rng):
    """A mean between two steps, a thousand from the source's, does not count as variance."""
    board.poll()
    board.source(0, 0, 100)
    board.source(1, 0, 100)
    status = run_sentinel(board, rng.normal((1000.5, -1000.5), 20, (20_000, 2)).round())
    assert np.allclose(status.var, 400, rtol=0.25) and np.allclose(
        status.mean, (1000.5, -1000.5), atol=5
    )


def test_the_sentinel_knows_no_channel_beyond_the_last(board):
    board.source(255, 100, 50)
    board.source(8, 100, 50)
    board.poll()
    assert run_sentinel(board, np.zeros((64, 2))).moved == 0


def test_slow_drift_is_reported_within_a_day(library, rng):
    """A tenth of a deviation, far below the threshold, at 50 Hz: 24 hours are 67,500 blocks of 64."""
    board = Board(library)
    board.source(0, 1000, 500)
    board.source(1, 1000, 500)
    day = 86_400 * 50
    done = 0
    moved = 0
    while done < day and not moved:
        block = rng.normal(1000, 500, (50_000, 2))
        block[:, 0] += 50
        board.push(block.round())
        board.time((done // 50 * 1_000_000) & 0xFFFFFFFF)
        statuses = [m for m in heard(board.poll()) if isinstance(m, Status)]
        moved = statuses[-1].moved if statuses else 0
        done += 50_000
    assert moved == 0b01 and done < day
    board.free()


# ------------------------------------------------------------------ builds


@pytest.mark.parametrize("options", [[], ["-DTTA_FLOAT=1"], ["-DTTA_FLOAT=1", "-DTTA_SENTINEL=1"]])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_no_warning(compiler, options, tmp_path):
    flags = [*STRICT, "-Wconversion", "-Wshadow", "-O2", *options]
    build(tool(compiler), *flags, "-c", FIRMWARE / "tta_bridge.c", "-o", tmp_path / "b.o")


def test_static_analyser_finds_nothing(tmp_path):
    options = ["-DTTA_FLOAT=1", "-DTTA_SENTINEL=1", "-fanalyzer"]
    build(tool("gcc"), *STRICT, *options, "-c", FIRMWARE / "tta_bridge.c", "-o", tmp_path / "b.o")


def test_it_is_c_plus_plus_too(tmp_path):
    (tmp_path / "main.cpp").write_text('#include "tta_bridge.h"\nint main() { return 0; }\n')
    build(
        tool("g++"),
        "-Wall",
        "-Werror",
        f"-I{FIRMWARE}",
        "-c",
        tmp_path / "main.cpp",
        "-o",
        tmp_path / "o",
    )


def test_size_on_a_cortex_m0(tmp_path):
    gcc, size = tool("arm-none-eabi-gcc"), tool("arm-none-eabi-size")
    target = ["-mcpu=cortex-m0", "-mthumb", "-Os"]
    out = tmp_path / "b.o"
    build(gcc, *STRICT, *target, "-c", FIRMWARE / "tta_bridge.c", "-o", out)
    text, data, bss = map(int, build(size, out).splitlines()[1].split()[:3])
    assert text <= 3 * 1024 and data == bss == 0
    symbols = build(tool("arm-none-eabi-nm"), "-u", out)
    assert not [s for s in symbols.split() if s.startswith("__aeabi")]  # no libgcc, so no floats
    check = tmp_path / "ram.c"
    check.write_text(
        '#include "tta_bridge.h"\n'
        "typedef char ram[sizeof(tta_bridge) + sizeof(tta_config) <= 512 ? 1 : -1];\n"
        "ram *unused(void);\nram *unused(void) { return 0; }\n"
    )
    build(gcc, *STRICT, *target, f"-I{FIRMWARE}", "-c", check, "-o", out)


def test_a_short_fuzz_run(tmp_path):
    """``tests/bench/bridge_fuzz.sh`` makes ten million executions."""
    out = tmp_path / "fuzz"
    sanitize = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    sources = [HERE / "fuzz_bridge.c", FIRMWARE / "tta_bridge.c"]
    flags = ["-g", "-O1", "-DTTA_SENTINEL=1", f"-I{FIRMWARE}"]
    build(tool("clang"), *STRICT, *sanitize, *flags, *sources, "-o", out)
    command = [out, "-runs=20000", "-max_len=400", "-seed=1", "-verbosity=0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]


def test_header_of_vectors_is_c(tmp_path):
    command = [sys.executable, "-m", "tta.firmware_bridge.vectors"]
    header = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    main = "int main(void) { return vector_ping[0]; }\n"
    (tmp_path / "main.c").write_text(header + main)
    build(
        tool("gcc"),
        "-std=c99",
        "-Wall",
        tmp_path / "main.c",
        "-o",
        tmp_path / "main",
        "-Wno-unused",
    )
    assert subprocess.run([tmp_path / "main"]).returncode == 0
