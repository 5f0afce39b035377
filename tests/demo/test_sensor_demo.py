"""``tta demo --sensor``, and ``tta run serial://`` on both emulated boards with the watch's data."""

import json

import numpy as np
import pytest

from tta.cli import main
from tta.demo import sensor
from tta.demo.sensor import demo, replay
from tta.errors import TtaError
from tta.firmware_bridge import boards
from tta.runtime.sources.serial_ import Serial
from tta.terminal import Terminal

pytest.importorskip("serial")


def test_the_demo_corrects_a_knocked_sensor(tmp_path, capsys):
    report = demo(
        kind="python", json_path=str(tmp_path / "d.json"), terminal=Terminal(True), faster=80
    )
    segments = {s["name"]: s for s in report["segments"]}
    before, after = segments["as trained"], segments["knocked, corrected"]
    assert before["corrected_error"] == before["frozen_error"] < 0.25
    assert after["corrected_error"] < 0.5 * after["frozen_error"]
    assert report["norm"].startswith("NORM: done, from sample ")
    assert json.loads((tmp_path / "d.json").read_text())["board"] == "python"
    assert "knocked, corrected" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["mps2", "atmega328"])
def test_a_board_streams_adapts_and_receives_norm(kind, capsys, monkeypatch):
    """From the command line: readings of the watch, knocked, on a board that repeats them."""
    if lacking := boards.missing(kind):
        pytest.skip(f"{', '.join(lacking)} missing: tests/recipes/firmware-tools.sh installs them")
    schema, samples, _ = replay(faster=6)
    part = samples[9000:10500]  # what an ATmega328's flash holds
    bundle = sensor.files("tta.demo") / "watch.tta"
    sources = []
    enter = Serial.__enter__
    monkeypatch.setattr(Serial, "__enter__", lambda self: sources.append(self) or enter(self))
    with boards.board(kind, schema, part) as board:
        uri = f"serial://{board.port}?correct=device&horizon=300"
        assert main(["run", str(bundle), uri, "--limit", "130", "--sink", "null"]) == 0
    [source] = sources
    session = source.bridge.session
    assert source.norm.correction is not None
    assert source.pushed.ack.code == 0 and source.pushed.ack.norm_epoch >= 1
    assert session.status is not None and session.tally.samples >= 1000
    assert "130 frames (0 skipped)" in capsys.readouterr().err


def test_boards_that_there_are_not(monkeypatch):
    with pytest.raises(TtaError, match="--board is mps2, posix or python"):
        demo(kind="toaster")
    monkeypatch.setattr(boards.shutil, "which", lambda name: None)
    kind, why = sensor.choose(None)
    assert kind == "python" and "no qemu-system-arm" in why


def test_another_seed_is_another_order():
    _, first, labels = replay()
    _, second, others = replay(1)
    assert not np.array_equal(first, second) and sorted(labels) == sorted(others)
