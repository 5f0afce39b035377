"""What a sweep refuses, leaves out or makes again, each in one sentence."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tta.demo
from tta.cli import main
from tta.errors import TtaError
from tta.evaluation.machine import cpu_name
from tta.evaluation.sweep import Cell, Sweep, check, damaged, run, work
from tta.evaluation.unfit import fitting

BUNDLE = Path(tta.demo.__file__).parent / "fashion.tta"
SMALL = ("--limit", "60", "--batch", "30", "--protocol", "clean", "--adapter", "none")


def evaluate(out, *words):
    return main(["evaluate", str(BUNDLE), "fashion", *SMALL, "--out", str(out), *words])


@pytest.fixture
def sweep():
    return Sweep(str(BUNDLE), "fashion", ("none",), ("clean",), (0, 1), (30,), limit=60)


def refusal(capsys):
    said = capsys.readouterr().err
    assert said.startswith("tta: ") and said.count("\n") == 1
    return said


def test_an_out_that_is_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert evaluate(tmp_path / "file") == 1 and "is a file" in refusal(capsys)
    assert evaluate(tmp_path / "file" / "x") == 1 and "cannot be written" in refusal(capsys)


def test_a_json_that_cannot_be_written(tmp_path, capsys):
    for target, message in ((tmp_path / "no" / "x.json", "is no folder"), (tmp_path, "a folder")):
        assert evaluate(tmp_path / "out", "--json", str(target)) == 1
        assert message in refusal(capsys) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "{", '"bundle"', "\x00\x00"])
def test_a_damaged_sweep_file(tmp_path, text, capsys):
    (tmp_path / "sweep.json").write_text(text)
    assert evaluate(tmp_path) == 1
    assert str(tmp_path) in (said := refusal(capsys)) and "empty folder" in said


@pytest.mark.parametrize("backend", ["nope", "dask"])
def test_a_backend_that_is_not_there(tmp_path, backend, capsys):
    pytest.importorskip("joblib", reason="needs the extra evaluate")
    if backend == "dask":
        pytest.importorskip("distributed", reason="needs the extra dev")
    assert evaluate(tmp_path, "--backend", backend) == 1
    assert f"no backend '{backend}'" in (said := refusal(capsys)) and "distributed.Client" in said


@pytest.mark.parametrize("part", [".json", ".npz"])
@pytest.mark.parametrize("harm", ["half", "empty", "gone", "other"])
def test_a_damaged_cell_is_made_again_and_said(tmp_path, sweep, part, harm, capsys):
    material = check(sweep, tmp_path)
    list(run(sweep, tmp_path, material))
    one, other = (tmp_path / f"{cell.key}.json" for cell in sweep.cells())
    whole, kept = one.read_bytes(), other.stat().st_mtime_ns
    with np.load(one.with_suffix(".npz")) as file:
        images = dict(file)
    path = one.with_suffix(part)
    data = path.read_bytes()
    if harm == "gone":
        path.unlink()
    elif harm == "other":
        path.write_text('{"rows": []}') if part == ".json" else np.savez(path, label=np.arange(3))
    else:
        path.write_bytes(data[: len(data) // 2] if harm == "half" else b"")
    rows_gone = harm == "gone" and part == ".json"
    assert damaged(sweep, tmp_path) == ([] if rows_gone else [one])
    assert evaluate(tmp_path, "--seed", "0,1") == 0
    said = capsys.readouterr().out.replace("\n", "")
    assert ("is damaged" in said) != rows_gone and (rows_gone or one.name in said)
    assert not damaged(sweep, tmp_path) and other.stat().st_mtime_ns == kept

    def untimed(text):
        return [{**row, "ms_per_frame": 0} for row in json.loads(text)["rows"]]

    assert untimed(one.read_bytes()) == untimed(whole)
    with np.load(one.with_suffix(".npz")) as file:
        assert all(np.array_equal(file[name], images[name]) for name in images)


def test_what_cannot_run_refuses_all_or_is_left_out(tmp_path, monkeypatch, capsys):
    def coupled(method, bundle, frames):
        if frames < 2 and getattr(method, "couples", True):
            raise TtaError("take --batch 2 or more")

    monkeypatch.setattr("tta.evaluation.cell.check_coupling", coupled)
    words = ["--adapter", "none,tent,bn_stats", "--batch", "1,30", "--corruptions", "fog"]
    words += ["--protocol", "clean,few_classes:11"]
    assert evaluate(tmp_path / "a", *words) == 1
    assert "take --batch 2 or more (--skip-unfit" in refusal(capsys)
    assert not (tmp_path / "a").exists()
    assert evaluate(tmp_path / "b", *words, "--skip-unfit") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "tent at batch 1 is left out: take --batch 2" in said
    assert "few_classes:11 is left out: few_classes:11 needs as many classes" in said
    done = {(c["adapter"], c["batch"]) for c in map(cell, tmp_path.glob("b/*-s0-*.json"))}
    assert done == {("tent", 30), ("bn_stats", 30), ("none", 30), ("none", 1)}
    refused = json.loads((tmp_path / "b" / "refused.json").read_text())
    assert [(r["adapter"], r["batch"], r["protocol"]) for r in refused] == [
        ("tent", 1, ""), ("bn_stats", 1, ""), ("", None, "few_classes:11"),
    ]  # fmt: skip
    assert (tmp_path / "b" / "summary.csv").read_text().count("\n") == 1 + 4
    assert "- tent at batch 1" in (tmp_path / "b" / "results.md").read_text()


def cell(path):
    return json.loads(path.read_text())


def test_a_bundle_without_a_step_graph(sweep, monkeypatch):
    def needy(method, bundle):
        if "step/entropy" in method.needs:
            raise TtaError("export again with --objectives entropy")

    monkeypatch.setattr("tta.evaluation.unfit.check_needs", needy)
    left, found = fitting(replace(sweep, adapters=("none", "tent"), batches=(30, 60)))
    assert {c.adapter for c in left.cells()} == {"none"} and len(left.cells()) == 4
    assert [str(f) for f in found] == ["tent is left out: export again with --objectives entropy"]
    with pytest.raises(
        TtaError, match="nothing of this sweep can run, first of all because export"
    ):
        fitting(replace(sweep, adapters=("tent",)))


@pytest.mark.parametrize(
    "words", [("--adapter", "tnet"), ("--protocol", "cleen"), ("--adapter", "tent?lr=x")]
)
def test_a_wrong_word_is_never_left_out(tmp_path, words, capsys):
    assert evaluate(tmp_path / "out", "--skip-unfit", *words) == 1
    assert refusal(capsys) and not (tmp_path / "out").exists()


def test_a_folder_is_of_one_setting_and_version(tmp_path, sweep, monkeypatch):
    check(sweep, tmp_path)
    about = json.loads((tmp_path / "sweep.json").read_text())
    assert about["tta"] and about["serve"] == "batch" and about["governor"] == "always"
    for other, message in (
        (replace(sweep, serve="stream"), "another serve"),
        (replace(sweep, governor="auto"), "another governor"),
        (replace(sweep, brief=False), "another brief"),
    ):
        with pytest.raises(TtaError, match=message):
            check(other, tmp_path)
    monkeypatch.setattr("tta.evaluation.sweep.version", lambda _: "99")
    with pytest.raises(TtaError, match="another tta"):
        check(sweep, tmp_path)


def test_a_process_that_finds_other_data_refuses(tmp_path, sweep):
    check(sweep, tmp_path)
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data": "0" * 64}))
    with pytest.raises(TtaError, match="need the same files"):
        work(sweep, sweep.cells()[0], tmp_path)


def test_a_row_names_its_machine(tmp_path, sweep):
    list(run(sweep, tmp_path, check(sweep, tmp_path)))
    (row,) = cell(tmp_path / f"{sweep.cells()[0].key}.json")["rows"]
    assert row["cpu"] and row["cores"] >= 1 and row["onnxruntime"] and row["tta"]
    assert len(list((tmp_path / "frozen").iterdir())) == 1


def test_names_of_cpus(tmp_path):
    for text, name in (
        ("processor : 0\nmodel name\t: Fast CPU\nmodel : 3\n", "Fast CPU"),
        (
            "processor : 0\nBogoMIPS : 1\n\nModel\t\t: Raspberry Pi 4 Model B\n",
            "Raspberry Pi 4 Model B",
        ),
    ):
        (tmp_path / "cpuinfo").write_text(text)
        assert cpu_name(tmp_path / "cpuinfo") == name
    assert cpu_name(tmp_path / "none")


def test_keys_tell_cells_apart():
    keys = {
        Cell(p, a, b, s).key for p in ("x", "y") for a in ("x", "y") for b in (1, 2) for s in (1, 2)
    }
    assert len(keys) == 16
