"""``tta state list | diff | restore | reset`` on the folder of a run."""

from importlib.resources import files
from pathlib import Path

import pytest

from tests.runtime.test_durable import numbered
from tta.bundle import Bundle
from tta.cli import main
from tta.runtime.durable import Durable, Shelf

BUNDLE = str(files("tta.demo") / "fashion.tta")


@pytest.fixture
def shelf(tmp_path):
    made = Shelf(tmp_path / "stream")
    made.folder.mkdir()
    for k in (1, 2):
        made.put(numbered(Bundle(BUNDLE), k), Bundle(BUNDLE))
    return made


def said(capsys, *arguments):
    status = main(["state", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def test_list(shelf, tmp_path, capsys):
    shelf.files()[0].write_bytes(b"junk")
    lines = said(capsys, "list", tmp_path)[1].splitlines()
    assert "tent at step 2" in lines[0] and numbered(Bundle(BUNDLE), 2).hash[:12] in lines[0]
    assert "no readable state file" in lines[1] and len(lines) == 2
    assert "there is no durable state in" in said(capsys, "list", tmp_path / "gone")[2]


def test_diff(shelf, capsys):
    one, two = shelf.files()
    lines = said(capsys, "diff", BUNDLE, one, two)[1].splitlines()
    assert lines[1:] == ["  slots/head.bias: 100.00%"]
    assert "the same slots and memory" in said(capsys, "diff", BUNDLE, one, one)[1]


def test_restore(shelf, tmp_path, capsys):
    bundle = Bundle(BUNDLE)
    assert "at step 1, kept as 3" in said(capsys, "restore", BUNDLE, tmp_path, 1)[1]
    assert shelf.last(bundle)[0].hash == numbered(bundle, 1).hash
    assert said(capsys, "restore", BUNDLE, tmp_path, shelf.files()[1])[0] == 0
    assert shelf.last(bundle)[0].hash == numbered(bundle, 2).hash
    assert "no state file" in said(capsys, "restore", BUNDLE, tmp_path, 99)[2]
    wrong = said(capsys, "restore", BUNDLE, tmp_path, 1, "--stream", "stream-7")
    assert "there is no stream 'stream-7'" in wrong[2]


def test_reset_keeps_what_was(shelf, tmp_path, capsys):
    out = said(capsys, "reset", BUNDLE, tmp_path)[1]
    assert "begins with the source model; its 2 states are in" in out
    assert shelf.last(Bundle(BUNDLE)) == (None, [])
    assert len(list(Path(tmp_path / "stream" / "before-reset-1").iterdir())) == 2
    assert "source model already" in said(capsys, "reset", BUNDLE, tmp_path)[1]


def test_a_folder_in_use_is_left_alone(shelf, tmp_path, capsys):
    durable = Durable(tmp_path)
    for command in (("restore", BUNDLE, tmp_path, 1), ("reset", BUNDLE, tmp_path)):
        assert "another run keeps its states" in said(capsys, *command)[2]
    durable.close()
    assert len(shelf.files()) == 2
