"""``tta serial``: on an emulated device, and on a sketch that prints numbers."""

import os
import re
import threading

import numpy as np
import pytest

from tta.cli import main
from tta.firmware_bridge import link
from tta.firmware_bridge.boards import PythonBoard
from tta.firmware_bridge.messages import Channel, Log, Schema, Status
from tta.serial_tools import _line

serial = pytest.importorskip("serial")
SCHEMA = Schema((Channel("ax", "g", 1 / 2048, -16, 16), Channel("t", "", 1, 0, 9)), 0, 200_000)


@pytest.fixture
def board():
    with PythonBoard(SCHEMA, np.full((10, 2), 1024, "<i2")) as made:
        yield made


def test_hello(board, capsys):
    assert main(["serial", "hello", board.port]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "emulated 1.0 on /dev/" in out and "int16 at 200 Hz" in out and "norm epoch 0" in out
    assert re.search(r"ax\W+g\W+0.000488281\W+-16\W+16", out)


def test_monitor(board, capsys):
    assert main(["serial", "monitor", board.port, "--seconds", "2"]) == 0
    out = capsys.readouterr().out
    assert "0.5       1024  norm_epoch=0" in out and "status: up 1 s" in out


def test_monitor_of_lines(capsys):
    ours, device = os.openpty()
    timer = threading.Timer(0.2, os.write, [ours, b"0\n1,2\n3,oops\n5,6\n"])
    late = threading.Timer(1.3, os.write, [ours, b"7,8\n"])
    timer.start(), late.start()
    assert main(["serial", "monitor", os.ttyname(device), "--seconds", "1"]) == 0
    out = capsys.readouterr().out
    assert "5          6" in out and "1 could not be used: line b'3,oops'" in out
    late.join()
    os.close(ours)
    os.close(device)


def test_bench(board, capsys):
    assert main(["serial", "bench", board.port, "--seconds", "2"]) == 0
    out = capsys.readouterr().out
    assert float(re.search(r"samples_per_s\W+([\d.]+)", out)[1]) > 0
    assert float(re.search(r"ping_ms_median\W+([\d.]+)", out)[1]) > 0
    assert re.search(r"lost_samples\W+0\b", out)


def test_nobody(capsys):
    assert main(["serial", "hello", "loop://"]) == 1
    assert "gives back what is sent to it" in capsys.readouterr().err


def test_list(monkeypatch, capsys):
    from serial.tools import list_ports

    monkeypatch.setattr(list_ports, "comports", list)
    assert main(["serial", "list"]) == 0
    assert "no serial port here" in capsys.readouterr().out

    class Info:
        device, description = "/dev/ttyACM7", "Arduino Uno"

    monkeypatch.setattr(list_ports, "comports", lambda: [Info])
    assert main(["serial", "list"]) == 0
    assert re.search(r"/dev/ttyACM7.*Arduino Uno", capsys.readouterr().out)
    assert link.ports()[0].by_id == ""


def test_lines():
    assert _line(Log("hot", 2)) == "warning: hot"
    assert "DRIFT in channels 0b10" in _line(Status(drifting=True, moved=2))


def test_monitor_of_nobody_ends_in_time(capsys):
    ours, device = os.openpty()
    assert main(["serial", "monitor", os.ttyname(device), "--seconds", "1"]) == 0
    assert f"no sample came from {os.ttyname(device)} in 1 s" in capsys.readouterr().out
    os.close(ours)
    os.close(device)
