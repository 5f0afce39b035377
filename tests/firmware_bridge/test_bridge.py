"""The bridge on pseudo terminals: unplugging, and devices that are not what they should be."""

import contextlib
import os
import threading
import time
import tty

import numpy as np
import pytest

from tests.bench.bridge_unplug import run
from tta.errors import SourceError
from tta.firmware_bridge.boards import PythonBoard
from tta.firmware_bridge.bridge import Bridge
from tta.firmware_bridge.emulated import EmulatedDevice
from tta.firmware_bridge.messages import Channel
from tta.firmware_bridge.protocol import Hello, Log, Schema, frame
from tta.runtime.source_uri import open_source

pytest.importorskip("serial")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="pseudo terminals are POSIX")
SCHEMA = Schema(
    (Channel("ax", "g", 1 / 2048, -16, 16), Channel("ay", "g", 1 / 2048, -16, 16)), 0, 200_000
)
SAMPLES = np.stack([np.arange(300), -np.arange(300)], 1).astype("<i2")


@pytest.fixture
def line():
    """Our end of a terminal, and the path of the other."""
    ours, device = os.openpty()
    tty.setraw(device)
    yield ours, os.ttyname(device)
    for end in (ours, device):
        with contextlib.suppress(OSError):
            os.close(end)


@contextlib.contextmanager
def chatter(ours, data, every_s=0.01):
    """Something that sends and sends."""
    stop = threading.Event()

    def send():
        os.set_blocking(ours, False)
        while not stop.wait(every_s):
            with contextlib.suppress(BlockingIOError):
                os.write(ours, data() if callable(data) else data)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def refusal(uri):
    start_s = time.monotonic()
    with pytest.raises(SourceError) as caught, open_source(uri) as source:
        for _ in source:
            pass
    assert time.monotonic() - start_s < 30  # bounded: each of them is over in one or two seconds
    return str(caught.value)


def test_twenty_one_interruptions():
    """``python -m tests.bench.bridge_unplug`` makes a thousand."""
    found = run(21, seed=3)
    assert found["restarts"] == 7 and found["acks_lost"] == 7
    assert found["reconnections"] >= 7 and found["counts_compared"] == 8


def test_a_wrong_baud_rate(line, rng):
    ours, path = line
    with chatter(ours, lambda: rng.bytes(40)):  # what frames look like at another rate
        assert "nor our protocol" in (said := refusal(f"serial://{path}?baud=9600"))
        assert "check baud=9600" in said
        said = refusal(f"serial://{path}?codec=cobs&hello_s=0.5&baud=9600")
    assert "no HELLO that is intact: check baud=9600" in said


def test_a_device_that_speaks_something_else(line):
    ours, path = line
    with chatter(ours, b"\x24GPS,\xb5b\x01\x02\xff" * 20):
        said = refusal(f"serial://{path}")
    assert "neither lines of numbers nor our protocol" in said and "check baud" in said
    with chatter(ours, "température: élevée\r\n".encode() * 9):
        said = refusal(f"serial://{path}")
    assert "neither lines of numbers nor our protocol" in said
    with chatter(ours, b"all is well, and warm\r\n1,2,three\r\n" * 4):
        said = refusal(f"serial://{path}")
    assert "none has numbers only" in said
    with chatter(ours, b"1,2,3\r\n"):
        said = refusal(f"serial://{path}?codec=cobs&hello_s=0.5")
    assert "sent no HELLO within 0.5 s" in said and "codec=csv" in said


def test_a_device_that_never_says_hello(line):
    ours, path = line
    with chatter(ours, frame(Log("I am here"), 0, 0, host=False)):
        said = refusal(f"serial://{path}?hello_s=0.5")
    assert "sent no HELLO within 0.5 s" in said
    assert "sent no HELLO" in refusal(f"serial://{path}?codec=cobs&hello_s=0.3")


def test_our_own_echo():
    said = refusal("serial://loop://?codec=cobs&hello_s=0.5")
    assert "gives back what is sent to it" in said


def test_another_schema_after_a_reconnection(line):
    ours, path = line
    device = EmulatedDevice(SCHEMA)
    other = EmulatedDevice(Schema((Channel("t", "K"),), 0, 200_000))
    begin_s = time.monotonic()
    device.start(begin_s)

    def talk():
        now_s = time.monotonic()
        current = device if now_s - begin_s < 0.6 else other
        received = b""
        with contextlib.suppress(BlockingIOError):
            received = os.read(ours, 1000)
        current.push(np.zeros(len(current.schema.channels), "<i2"))
        return current.poll(received, now_s)

    with chatter(ours, talk):
        said = refusal(f"serial://{path}?hello_s=0.5")
    assert "came back with other channels (t; before: ax, ay)" in said


def test_oversize_frames_are_counted(line):
    ours, path = line
    device = EmulatedDevice(SCHEMA)
    device.start(time.monotonic())
    turn = iter(range(10**9))

    def talk():
        received = b""
        with contextlib.suppress(BlockingIOError):
            received = os.read(ours, 1000)
        device.push(SAMPLES[0])
        if 20 < next(turn) < 24:
            return b"\x55" * 3500  # a frame of 10,500 bytes
        return device.poll(received, time.monotonic())

    with chatter(ours, talk), Bridge(path) as bridge:
        for event in bridge.events():
            if bridge.session.decoder.oversize and bridge.session.tally.samples > 50:
                break
            assert not isinstance(event, Hello) or event.schema.hash == SCHEMA.hash
        assert bridge.session.decoder.oversize == 1


def test_two_readers_on_one_port():
    with (
        PythonBoard(SCHEMA, SAMPLES) as board,
        Bridge(board.port),
        pytest.raises(SourceError, match="is in use by another program"),
        Bridge(board.port),
    ):
        pass


def test_a_port_that_comes_back(tmp_path):
    """By its name in /dev/serial/by-id: unplugged for a while, and then another terminal."""
    port = tmp_path / "by-id"
    first, second = PythonBoard(SCHEMA, SAMPLES), PythonBoard(SCHEMA, SAMPLES)
    port.symlink_to(first.__enter__().port)
    with Bridge(str(port), back_off_s=(0.05, 0.1)) as bridge:
        events = bridge.events()
        while not bridge.session.tally.samples:
            next(events)
        first.__exit__(None, None, None)
        port.unlink()
        timer = threading.Timer(0.4, lambda: port.symlink_to(second.__enter__().port))
        timer.start()
        seen = bridge.session.tally.samples
        while bridge.session.tally.samples < seen + 20:
            next(events)
        assert bridge.reconnects == 1 and bridge.session.tally.restarts == 1
        timer.join()
    second.__exit__(None, None, None)


def test_without_reconnection_the_loss_is_said(line):
    ours, path = line
    with Bridge(path, reconnect=False) as bridge:
        os.close(ours)
        with pytest.raises(SourceError, match=r"vanished|does not take data"):
            list(bridge.events())


def test_silence_counts_while_it_reconnects(tmp_path):
    """A board that is unplugged for good: a run that was told how long to wait ends, and says why."""
    port = tmp_path / "by-id"
    with PythonBoard(SCHEMA, SAMPLES) as board:
        port.symlink_to(board.port)
        with open_source(f"serial://{port}?silence_s=2&codec=cobs") as source:
            frames = iter(source)
            next(frames)
            port.unlink()
            source.link._port.close()  # as a cable that is pulled
            source.link._port.open = None
            with pytest.raises(SourceError, match=r"silent for 2 s: serial port .* does not exist"):
                for _ in frames:
                    pass


def test_a_silent_device_after_a_noisy_one_is_not_accused(line):
    """What the line said before it was cut is not held against who is there now."""
    _, path = line
    with Bridge(path, back_off_s=(0.05,), hello_s=0.4) as bridge:
        bridge.session.decoder.unfit = 7
        events = bridge.events()
        next(events)
        with pytest.raises(SourceError, match=r"sent no HELLO within 0.4 s"):
            for _ in events:
                pass


def test_closing_from_another_thread_while_it_reconnects(line):
    ours, path = line
    with Bridge(path, back_off_s=(30.0,)) as bridge:
        threading.Timer(0.2, os.close, [ours]).start()
        threading.Timer(0.5, bridge.close).start()
        start_s = time.monotonic()
        list(bridge.events())
        assert time.monotonic() - start_s < 20  # and not after the 30 s that it waits


def test_csv_reconnects_when_asked_to(tmp_path):
    port = tmp_path / "by-id"
    ours, device = os.openpty()
    port.symlink_to(os.ttyname(device))
    with open_source(f"serial://{port}?reconnect=true") as source:
        os.write(ours, b"\n1,2\n3,4\n5,6\n7")
        frames = iter(source)
        before = [next(frames).seq for _ in range(3)]
        os.close(ours)
        os.close(device)
        ours, device = os.openpty()
        os.replace(_link(tmp_path, os.ttyname(device)), port)
        threading.Timer(1.2, os.write, [ours, b",8\n9,10\n11,12\n"]).start()
        after = [next(frames) for _ in range(2)]
    assert before == [0, 1, 2]
    assert [f.data.tolist() for f in after] == [[9, 10], [11, 12]] and after[0].seq > 3
    for end in (ours, device):
        os.close(end)


def _link(folder, target):
    new = folder / "new"
    new.symlink_to(target)
    return new
