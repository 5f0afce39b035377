"""The serial source on a loop and on a pseudo terminal."""

import errno
import itertools
import os
import sys
import threading

import numpy as np
import pytest

from tta.errors import MissingExtraError, SourceError
from tta.firmware_bridge.link import Link
from tta.runtime.source_uri import open_source
from tta.runtime.sources import serial_

serial = pytest.importorskip("serial")
posix = pytest.mark.skipif(os.name != "posix", reason="pseudo terminals are POSIX")


def take(source, count):
    return list(itertools.islice(source, count))


@pytest.fixture
def board():
    """File descriptors of a pseudo terminal's two ends: the board's, and ours by its path."""
    ours, device = os.openpty()
    open_ends = {ours, device}

    def close(end):
        if end in open_ends:
            open_ends.discard(end)
            os.close(end)

    yield ours, device, close
    for end in tuple(open_ends):
        close(end)


def test_lines_become_samples():
    with open_source("serial://loop://") as source:
        source.link.write(b"9,9\r\n1,2.5,-3\r\n4,5,6\r\n")
        frames = take(source, 2)
    assert [frame.data.tolist() for frame in frames] == [[1, 2.5, -3], [4, 5, 6]]
    assert frames[0].data.dtype == np.float32
    assert frames[0].source == "serial://loop://" and source.live


def test_a_bad_line_leaves_a_gap():
    with open_source("serial://loop://?channels=2") as source:
        source.link.write(b"\n1,2\n1\n3,4\n")
        assert [frame.seq for frame in take(source, 2)] == [0, 2]
        assert source.codec.bad_lines == 1


def test_nonsense_only_is_said():
    with open_source("serial://loop://?channels=6&baud=9600") as source:
        source.link.write(b"1,2,3\n" * 120)
        message = r"of .* lines from loop:// none has 6 numbers, .*1,2,3.*baud=9600"
        with pytest.raises(SourceError, match=message):
            take(source, 1)


def test_silence_is_said():
    with (
        open_source("serial://loop://?silence_s=0.01") as source,
        pytest.raises(SourceError, match=r"loop:// was silent for 0.01 s"),
    ):
        take(source, 1)


@posix
def test_a_device_that_says_nothing_at_all_is_not_waited_for(board, monkeypatch):
    monkeypatch.setattr(serial_, "_LOOK_S", 0.2)
    path = os.ttyname(board[1])
    with (
        open_source(f"serial://{path}") as source,
        pytest.raises(SourceError, match=f"{path} sent nothing for 0.2 s.*codec=csv"),
    ):
        take(source, 1)


def test_closing_from_another_thread_ends_the_frames():
    with open_source("serial://loop://") as source:
        source.link.write(b"\n1\n")
        frames = iter(source)
        next(frames)
        closer = threading.Thread(target=source.link.close)
        closer.start()
        assert list(frames) == []
        closer.join()


def test_it_must_be_entered():
    with pytest.raises(SourceError, match=r"use it in a with statement"):
        take(open_source("serial://loop://"), 1)


def test_a_password_is_not_shown():
    with pytest.raises(SourceError) as caught:
        open_source("serial://socket://me:hunter2@localhost:1").__enter__()
    assert "hunter2" not in str(caught.value) and caught.value.__cause__ is None
    assert "socket://***@localhost:1" in str(caught.value)


@posix
def test_pty_lines(board):
    ours, device, _ = board
    with open_source(f"serial://{os.ttyname(device)}?channels=2") as source:
        os.write(ours, b"cut line\nax,ay\n1;2\n3 4\n")
        assert [frame.data.tolist() for frame in take(source, 2)] == [[1, 2], [3, 4]]
        assert source.codec.headers == 1


@posix
@pytest.mark.parametrize("read_before", [False, True])
def test_pty_vanishes(board, read_before):
    ours, device, close = board
    with open_source(f"serial://{os.ttyname(device)}") as source:
        if read_before:
            os.write(ours, b"\n1\n")
            take(source, 1)
        close(device)
        close(ours)
        with pytest.raises(SourceError, match=r"serial port /dev/.* vanished"):
            take(source, 1)


@posix
def test_pty_vanishes_while_it_is_read(board):
    ours, device, close = board
    with open_source(f"serial://{os.ttyname(device)}") as source:
        os.write(ours, b"\n1\n")
        frames = iter(source)
        next(frames)
        close(device)
        puller = threading.Timer(0.02, close, [ours])
        puller.start()
        with pytest.raises(SourceError, match="vanished"):
            next(frames)
        puller.join()


@posix
def test_pty_is_opened_alone(board):
    path = os.ttyname(board[1])
    with (
        Link(path),
        pytest.raises(SourceError, match=f"serial port {path} is in use by another program"),
        Link(path),
    ):
        pass


@posix
def test_a_port_found_by_its_hardware_is_opened_alone(board, monkeypatch):
    from serial.tools import list_ports

    path = os.ttyname(board[1])
    monkeypatch.setattr(list_ports, "grep", lambda wanted: [(path, "a board", wanted)])
    with (
        Link("hwgrep://2341:0043"),
        pytest.raises(SourceError, match="is in use by another program"),
        Link("hwgrep://2341:0043"),
    ):
        pass


@posix
def test_pty_keeps_dtr_when_it_closes(board):
    termios = pytest.importorskip("termios")
    device = board[1]
    with Link(os.ttyname(device)):
        assert not termios.tcgetattr(device)[2] & termios.HUPCL


@posix
def test_pty_takes_writes(board):
    ours, device, _ = board
    with Link(os.ttyname(device)) as link:
        link.write(b"start\n")
        assert os.read(ours, 100).startswith(b"start")


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EACCES, "may not be opened: add yourself to the group dialout"),
        (errno.EBUSY, "is in use by another program"),
        (errno.ENOENT, "does not exist; ports present: "),
        (errno.EIO, "cannot be opened"),
    ],
)
def test_why_a_port_does_not_open(monkeypatch, number, message):
    def refuse(*args, **kwargs):
        raise serial.SerialException(number, f"could not open port: {os.strerror(number)}")

    monkeypatch.setattr(serial, "serial_for_url", refuse)
    with pytest.raises(SourceError, match=f"serial port /dev/ttyACM0 {message}"):
        Link("/dev/ttyACM0").open()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (
            "serial:///dev/no_such_port",
            "serial port /dev/no_such_port does not exist; ports present",
        ),
        ("serial://spam://x", "serial port spam://x cannot be opened .*not known"),
        ("serial://loop://?baud=0", "baud and channels of serial:// must be positive"),
        ("serial://loop://?channels=0", "baud and channels of serial:// must be positive"),
        ("serial://loop://?baud=fast", "baud of serial:// must be an integer, but is 'fast'"),
    ],
)
def test_messages(uri, message):
    with pytest.raises(SourceError, match=message), open_source(uri):
        pass


def test_a_regular_file_is_no_port(tmp_path):
    (tmp_path / "port").touch()
    with pytest.raises(SourceError, match="cannot be opened"):
        Link(str(tmp_path / "port")).open()


def test_writing_to_a_closed_link():
    with pytest.raises(SourceError, match="serial port loop:// is not open"):
        Link("loop://").write(b"x")


def test_pyserial_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tta-edge\[serial\]'"):
        Link("loop://").open()
