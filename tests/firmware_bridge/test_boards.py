"""The bridge on boards without hardware: Python, a program, a Cortex-M3 in QEMU, an ATmega328 in simavr."""

import itertools
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.firmware_bridge.library import FIRMWARE, build, tool
from tta.errors import SourceError
from tta.firmware_bridge import boards, normalization
from tta.firmware_bridge.framing import decode
from tta.firmware_bridge.link import Link
from tta.firmware_bridge.protocol import (
    Ack,
    Channel,
    Config,
    Data,
    Decoder,
    Grant,
    Greet,
    Hello,
    Log,
    Norm,
    Ping,
    Schema,
    Status,
    Time,
    body,
    frame,
)
from tta.runtime.source_uri import open_source

serial = pytest.importorskip("serial")
NAMES = ["ax", "ay", "az", "wx", "wy", "wz"]
RATE_HZ = 300
SCHEMA = Schema(tuple(Channel(n, "g", 1 / 2048, -16, 16) for n in NAMES), 0, RATE_HZ * 1000)
SAMPLES = np.random.default_rng(0).normal(100, 500, (400, 6)).round().astype(np.int16)
MEAN, STD = SAMPLES.mean(0) / 2048, SAMPLES.std(0) / 2048


@pytest.fixture(params=boards.KINDS)
def board(request):
    lacking = boards.missing(request.param)
    if lacking:
        pytest.skip(f"{', '.join(lacking)} missing: tests/recipes/firmware-tools.sh installs them")
    with boards.board(request.param, SCHEMA, SAMPLES) as made:
        yield made


def expected(frame_):
    first, n = frame_.meta["first"], frame_.data.shape[1]
    return SAMPLES[(first + np.arange(n)) % len(SAMPLES)].T / 2048


def test_every_message_both_ways_byte_for_byte(board):
    """What the board sends is what Python would have sent, to the byte; what Python sends is understood."""
    norm = normalization.make(5, MEAN, STD, SCHEMA)
    asked = [
        Greet(),
        Grant(),
        Ping(b"\0tta\0"),
        Time(0xFFFF0000),
        Config(window=7, heartbeat_ms=300),
        *norm.parts(4),
        Norm(0).parts()[0],
        Grant(1000),
    ]
    answer = {Greet: Hello, Ping: Ping, Time: Time, Config: Ack, type(asked[-2]): Ack}
    decoder, raw = Decoder(), b""
    with Link(board.port, timeout_s=0.05) as link:

        def heard(wanted, tries):
            """Read until it came; a command is repeated every half second, as the protocol has it."""
            nonlocal raw
            for _ in range(tries):
                end_s = time.monotonic() + 0.5
                while time.monotonic() < end_s:
                    raw += link.read()
                    if any(map(wanted, Decoder().feed(raw))):
                        return
                link.write(frame(message, seq, 0, SCHEMA.hash, host=True))

        for seq, message in enumerate(asked):
            link.write(frame(message, seq, 0, SCHEMA.hash, host=True))
            kind = answer.get(type(message))
            if kind is Ack:
                heard(lambda r: isinstance(r.message, Ack) and r.message.seq == seq, 6)  # noqa: B023
                if seq == 6:
                    heard(lambda r: isinstance(r.message, Data) and r.message.norm_epoch == 5, 6)
            elif kind is not None:
                heard(lambda r: isinstance(r.message, kind), 6)  # noqa: B023
        message = Ping(b"\0tta\0")
        heard(lambda r: isinstance(r.message, Status), 6)
        heard(lambda r: isinstance(r.message, Data) and r.message.norm_epoch == 0, 6)
    wanted = {Hello, Data, Status, Ack, Time, Ping}
    seen = decoder.feed(raw)
    assert wanted <= {type(r.message) for r in seen} <= wanted | {Log}
    sent = [piece for piece in raw.split(b"\0") if piece]
    again = [frame(r.message, r.seq, r.t_us, SCHEMA.hash, host=False).strip(b"\0") for r in seen]
    assert [piece for piece in again if piece not in sent] == []
    assert len(seen) >= len(sent) - 2  # the first may be the rest of one, the last a beginning
    assert {r.message.data for r in seen if isinstance(r.message, Ping)} == {b"\0tta\0"}
    acks = [r.message for r in seen if isinstance(r.message, Ack)]
    answers = {(a.seq, a.code, a.norm_epoch) for a in acks}
    assert answers == {(4, 0, 0), (5, 0, 0), (6, 0, 5), (7, 0, 0)}
    data = [r.message for r in seen if isinstance(r.message, Data)]
    assert {d.norm_epoch for d in data} == {0, 5} and len(data[-1].samples) == 7
    for d in data:
        plain = SAMPLES[(d.first + np.arange(len(d.samples))) % len(SAMPLES)].astype("<i2")
        applied = normalization.apply(norm, plain) if d.norm_epoch else plain
        assert np.array_equal(applied, d.samples)
    assert decode(b"\0").bounds == [0] and body(asked[0], 0, 0, host=True)[1] == 0x81


def test_it_streams_as_a_source_and_takes_a_norm(board):
    frames = []
    with open_source(f"serial://{board.port}") as source:
        for each in source:
            frames.append(each)
            if len(frames) == 30:
                # What a board sent before anybody listened may be lost; from here on nothing is.
                before = source.errors, source.bridge.session.tally.lost_samples
                seq = each.seq
                command = source.bridge.normalize(normalization.make(1, MEAN, STD, SCHEMA))
            if len(frames) == 60:
                break
        session = source.bridge.session
    assert command.ack is not None and command.ack.code == 0
    assert (source.errors, session.tally.lost_samples) == before
    assert [f.seq for f in frames[29:]] == list(range(seq, seq + 31))
    epochs = [f.meta["norm_epoch"] for f in frames]
    assert epochs == sorted(epochs) and epochs[-1] == 1
    step = normalization.finest(session.norms[1], SCHEMA)[:, None]
    for f in frames:
        assert (
            np.abs(f.data - expected(f)) <= (step * 0.501 if f.meta["norm_epoch"] else 1e-6)
        ).all()
    times = np.array([f.t_s for f in frames])
    assert (np.diff(times) >= 0).all()
    assert abs(times[-1] - times[20] - 39 * 10 / RATE_HZ) < 0.5


@pytest.mark.parametrize("kind", ["posix", "atmega328", "python"])
def test_reset_in_the_middle(kind):
    if boards.missing(kind):
        pytest.skip(
            f"{boards.missing(kind)} missing: tests/recipes/firmware-tools.sh installs them"
        )
    with (
        boards.board(kind, SCHEMA, SAMPLES) as board,
        open_source(f"serial://{board.port}") as source,
    ):
        frames = []
        for each in source:
            frames.append(each)
            if len(frames) == 20:
                board.reset()
            if len(frames) > 25 and source.bridge.session.tally.restarts:
                break
            assert len(frames) < 2000
        again = next(k for k, f in enumerate(frames) if f.meta.get("restarted"))
        assert frames[again].seq > frames[again - 1].seq + 1
        assert all(np.abs(f.data - expected(f)).max() < 1e-6 for f in frames)


def test_a_missing_tool_is_said(monkeypatch):
    monkeypatch.setattr(boards.shutil, "which", lambda name: None)
    with (
        pytest.raises(
            SourceError, match="board mps2 needs arm-none-eabi-gcc, qemu-system-arm: tests"
        ),
        boards.board("mps2", SCHEMA, SAMPLES),
    ):
        pass


ARDUINO = Path("/usr/share/arduino/hardware/arduino/avr")


def test_the_arduino_sketch_is_built_and_runs(tmp_path):
    """With Debian's Arduino core; then in simavr, as on an Uno."""
    gcc, gxx = tool("avr-gcc"), tool("avr-g++")
    if not ARDUINO.is_dir():
        pytest.skip("arduino-core-avr is missing: tests/recipes/firmware-tools.sh installs it")
    sketch = FIRMWARE / "sketches" / "arduino_avr" / "arduino_avr.ino"
    (tmp_path / "sketch.cpp").write_text("#include <Arduino.h>\n" + sketch.read_text())
    core = ARDUINO / "cores" / "arduino"
    flags = ["-mmcu=atmega328p", "-DF_CPU=16000000L", "-DARDUINO=10819", "-DARDUINO_ARCH_AVR"]
    flags += [
        "-Os",
        "-ffunction-sections",
        f"-I{core}",
        f"-I{ARDUINO}/variants/standard",
        f"-I{FIRMWARE}",
    ]
    plus = ["-std=gnu++11", "-fno-exceptions", "-fno-threadsafe-statics"]
    build(
        gxx,
        "-Wall",
        "-Werror",
        *plus,
        *flags,
        "-c",
        tmp_path / "sketch.cpp",
        "-o",
        tmp_path / "s.o",
    )
    build(gcc, "-Wall", "-Werror", *flags, "-c", FIRMWARE / "tta_bridge.c", "-o", tmp_path / "b.o")
    for k, name in enumerate("wiring.c wiring_analog.c wiring_digital.c hooks.c".split()):  # noqa: SIM905
        build(gcc, "-w", "-std=gnu11", *flags, "-c", core / name, "-o", tmp_path / f"c{k}.o")
    for k, name in enumerate(
        "main.cpp Print.cpp Stream.cpp HardwareSerial.cpp HardwareSerial0.cpp abi.cpp".split()  # noqa: SIM905
    ):
        build(gxx, "-w", *plus, *flags, "-c", core / name, "-o", tmp_path / f"p{k}.o")
    elf = tmp_path / "board.elf"
    build(gcc, "-mmcu=atmega328p", "-Wl,--gc-sections", *tmp_path.glob("*.o"), "-lm", "-o", elf)
    host = tmp_path / "host"
    source = FIRMWARE / "boards" / "simavr_host.c"
    build(tool("gcc"), "-O2", source, "-o", host, "-lsimavr", "-lelf", "-lm")
    with subprocess.Popen([host, elf], stdout=subprocess.PIPE, text=True) as process:
        try:
            port = next(line for line in process.stdout if line.startswith("/dev/")).strip()
            with open_source(f"serial://{port}") as source:
                frames = list(itertools.islice(source, 8))
            assert source.bridge.session.hello.firmware == "analog inputs"
            assert frames[-1].data.shape == (3, 10)
            assert source.errors <= 1  # a frame that had begun when the port was opened
        finally:
            process.terminate()
