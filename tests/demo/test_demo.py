"""`tta demo`: what it prints, what it writes, and that adaptation is worth it."""

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from tta.cli import main
from tta.demo.show import demo
from tta.demo.stream import SEGMENTS, DemoStream
from tta.terminal import Terminal

ROOT = Path(__file__).parents[2]
NAMES = ["clean", "noise", "fog", "contrast", "clean again"]

# Runs the command line with every way to a network shut and nothing that a device lacks installed.
OFFLINE = """
import socket
import sys

def refuse(*arguments, **more):
    raise AssertionError("the demo must not ask the network")

socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
absent = ("torch", "onnx", "onnx_ir", "onnxscript", "rich", "cv2", "PIL", "serial")
sys.modules.update(dict.fromkeys(absent))

from tta.cli import main

status = main(sys.argv[1:])
assert not any(sys.modules.get(name) for name in absent)
sys.exit(status)
"""


def test_the_command_offline_on_a_bare_device(tmp_path):
    command = [
        sys.executable,
        "-c",
        OFFLINE,
        "demo",
        "--json",
        tmp_path / "d.json",
        "--frames",
        "200",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in NAMES) and "\x1b" not in done.stdout
    report = json.loads((tmp_path / "d.json").read_text())
    assert [s["name"] for s in report["segments"]] == NAMES
    for segment in report["segments"]:
        assert segment["frames"] == 200
        for key in ("frozen_error", "adapted_error", "share_in_drift"):
            assert 0 <= segment[key] <= 1
            assert segment[key] * 200 == pytest.approx(round(segment[key] * 200))
    assert (
        report["adapter"] == "bn_stats"
        and report["buffer"].startswith("reservoir")
        and report["seed"] == 0
        and report["commits"] > 0
    )


def test_neither_torch_nor_rich_is_imported(tmp_path):
    code = (
        "import sys; from tta.demo.show import demo; from tta.terminal import Terminal; "
        "demo(frames=20, terminal=Terminal(plain=True)); "
        "print([m for m in ('torch', 'onnx', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_adaptation_is_worth_it(capsys):
    report = demo(frames=800, terminal=Terminal(plain=True))
    printed = capsys.readouterr().out
    assert len(report["segments"]) == len(NAMES)
    for segment in report["segments"]:
        frozen, adapted = segment["frozen_error"], segment["adapted_error"]
        if "clean" in segment["name"]:
            assert adapted <= frozen + 0.01
            assert segment["share_in_drift"] < 0.1
        else:
            assert adapted < frozen - 0.1
            assert segment["share_in_drift"] > 0.9
        shown = f"{100 * frozen:.1f} %", f"{100 * adapted:.1f} %"
        assert all(figure in printed for figure in shown)
    assert report["commits"] > 100 and report["resets"] >= 1


@pytest.mark.parametrize("adapter", ["bn_stats", "tent", "none"])
def test_other_methods(capsys, adapter):
    report = demo(adapter, frames=96, terminal=Terminal(plain=True))
    for segment in report["segments"]:
        gain = segment["frozen_error"] - segment["adapted_error"]
        if adapter == "none":
            assert gain == 0
        elif segment["name"] in NAMES[1:4]:
            assert gain > 0.05
    assert (report["commits"] == 0) == (adapter == "none")


def test_equal_seeds_give_equal_figures(capsys):
    made = [demo(frames=20, seed=seed, terminal=Terminal(plain=True)) for seed in (3, 3, 4)]
    first, again, other = ([list(s.values()) for s in m["segments"]] for m in made)
    assert first == again != other


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere/d.json", "there is no folder nowhere"), (".", "it is a folder")],
)
def test_a_bad_path_is_refused_before_it_runs(capsys, tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--json", path]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err == f"tta: cannot write {path}: {message}\n"


def test_bad_options_are_refused_in_a_sentence(capsys):
    assert main(["demo", "--adapter", "tnet"]) == 1
    assert capsys.readouterr().err == "tta: no adapter named 'tnet'; known: tent\n"
    for arguments in (["--frames", "0"], ["--seed", "-1"], ["--batch", "x"]):
        with pytest.raises(SystemExit) as caught:
            main(["demo", *arguments])
        assert caught.value.code == 2
        assert "must be a whole number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sensor", "--out", "shown"], "has no --out"),
        (["--sensor", "--frames", "9", "--batch", "4"], "has no --frames and no --batch"),
        (["--board", "python"], "add --sensor"),
    ],
)
def test_options_of_the_other_demo_are_refused(capsys, arguments, message):
    assert main(["demo", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_the_stream_is_labelled_and_shifts_by_segment():
    stream = DemoStream(seed=1, frames=30)
    frames = list(stream)
    assert len(frames) == len(stream) == 150 and [f.seq for f in frames] == list(range(150))
    assert [s.name for s in SEGMENTS] == NAMES
    assert [f.meta["segment"] for f in frames] == [k for k in range(5) for _ in range(30)]
    spread = [np.std([f.data for f in frames[30 * k : 30 * k + 30]]) for k in range(5)]
    assert spread[3] < 0.7 * spread[0]  # half the contrast
    known = {image.tobytes(): label for image, label in zip(stream._images, stream._labels)}
    for frame in frames[:30] + frames[120:]:
        assert known[frame.data.tobytes()] == frame.meta["label"]
    assert not any(frame.data.tobytes() in known for frame in frames[30:120])


def test_more_frames_than_there_are_images_are_all_of_them():
    assert DemoStream(frames=10**6).frames == 2000


def test_data_are_balanced_and_small():
    path = files("tta.demo") / "fashion_test.npz"
    with path.open("rb") as file:
        data = np.load(file)
        assert data["images"].shape == (2000, 28, 28) and data["images"].dtype == np.uint8
        assert np.array_equal(np.bincount(data["labels"]), np.full(10, 200))
        assert data["names"].shape == (10,) and data["names"].dtype.kind == "U"
        assert file.seek(0, 2) < 1_200_000
