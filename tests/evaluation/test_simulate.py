"""`tta simulate` and `tta demo --out` as commands."""

import json
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from tta.cli import main
from tta.evaluation.simulate import FILES

BUNDLE = str(files("tta.demo") / "fashion.tta")
URI = "sim://fashion?corruption=contrast&severity=5&frames=200&seed=1"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder that one run has filled."""
    folder = tmp_path_factory.mktemp("simulated") / "new" / "folder"
    assert main(["simulate", BUNDLE, URI, "--adapter", "bn_stats", "--out", str(folder)]) == 0
    return folder


def rows(folder):
    return [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]


def test_pictures_and_json_agree(done):
    assert sorted(p.name for p in done.iterdir()) == sorted(FILES)
    lines, summary = rows(done), json.loads((done / "summary.json").read_text())
    assert len(lines) == 200 and summary["counts"]["frames"] == 200
    for k, segment in enumerate(summary["segments"]):
        own = [r for r in lines if r["segment"] == k]
        assert segment["frames"] == len(own) == 100
        for model in ("frozen", "adapted"):
            assert segment[model] == pytest.approx(
                sum(r[model] != r["label"] for r in own) / len(own)
            )
        gain = segment["gain"]
        assert gain["low"] <= gain["mean"] <= gain["high"]
    assert summary["segments"][1]["gain"]["mean"] > 0.05
    assert summary["about"]["source"] == URI
    text = (done / "timeline.html").read_text()
    assert f"{100 * summary['segments'][1]['adapted']:.1f} %" in text


def test_the_same_seed_gives_the_same_rows(done, tmp_path, capsys):
    assert main(["simulate", BUNDLE, URI, "--adapter", "bn_stats", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "frames.jsonl").read_bytes() == (done / "frames.jsonl").read_bytes()
    printed = capsys.readouterr().out
    assert "contrast 5" in printed and "whole stream" in printed and str(tmp_path) in printed
    assert all(len(line) <= 80 for line in printed.splitlines() if str(tmp_path) not in line)


def test_without_out_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", BUNDLE, URI, "--adapter", "none", "--limit", "32"]) == 0
    assert not list(tmp_path.iterdir()) and "clean" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_refused_before_it_runs(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["simulate", BUNDLE, URI, "--out", str(tmp_path / "file" / "x")]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("tta: cannot write pictures into") and err.count("\n") == 1


def test_a_missing_extra_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for command in (["simulate", BUNDLE, URI], ["demo", "--frames", "20"]):
        assert main([*command, "--out", str(tmp_path)]) == 1
        out, err = capsys.readouterr()
        assert out == "" and "pip install 'tta-edge[sim]'" in err and err.count("\n") == 1
    assert main(["demo", "--frames", "20"]) == 0
    assert main(["simulate", BUNDLE, URI, "--limit", "20"]) == 0


@pytest.mark.parametrize(
    ("uri", "said"),
    [("sim://fashion?corruption=frog", "fro"), ("sim://fashion?corruption=fog&severity=6", "severity"),
     ("serial:///dev/ttyNONE", "live")],
)  # fmt: skip
def test_bad_sources_are_one_sentence(capsys, uri, said):
    assert main(["simulate", BUNDLE, uri]) == 1
    err = capsys.readouterr().err
    assert said in err and err.startswith("tta: ") and err.count("\n") == 1


def test_no_labels_no_error_and_it_says_so(tmp_path, capsys):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (80, 28, 28), np.uint8)
    np.savez(tmp_path / "bare.npz", images=images)
    uri = f"sim://{tmp_path}/bare.npz?corruption=fog&severity=5"
    assert main(["simulate", BUNDLE, uri, "--adapter", "none", "--out", str(tmp_path / "out")]) == 0
    assert "no labels, so no error" in " ".join(capsys.readouterr().out.split())
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["measure"] == "disagreement" and summary["segments"][0]["frozen"] == 0
    assert "There is no error curve" in (tmp_path / "out" / "timeline.html").read_text()


def test_the_demo_saves_its_pictures(tmp_path, capsys):
    figures = tmp_path / "d.json"
    folder = tmp_path / "demo"
    assert main(["demo", "--frames", "60", "--json", str(figures), "--out", str(folder)]) == 0
    printed = capsys.readouterr().out.split()
    assert [Path(p) for p in printed[-4:]] == [folder / name for name in FILES]
    told, drawn = json.loads(figures.read_text()), json.loads((folder / "summary.json").read_text())
    for a, b in zip(told["segments"], drawn["segments"]):
        assert (a["frozen_error"], a["adapted_error"]) == pytest.approx(
            (b["frozen"], b["adapted"]), abs=1e-6
        )
