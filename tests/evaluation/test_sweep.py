"""The engine against a loop written by hand, and a sweep that is killed, resumed and refused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tta.demo
from tta.adapters.tent import Tent
from tta.bundle import Bundle
from tta.cli import main
from tta.corruptions import corrupt
from tta.errors import TtaError
from tta.evaluation.cell import Material, evaluate
from tta.evaluation.lines import lines
from tta.evaluation.results import read
from tta.evaluation.sweep import Sweep, check, run
from tta.records import Frame
from tta.runtime.preprocess import build
from tta.runtime.session import AdaptSession, InferSession

BUNDLE = Path(tta.demo.__file__).parent / "fashion.tta"
NAMES = "fog,contrast"


@pytest.fixture(scope="module")
def material():
    return Material(Bundle(BUNDLE), "fashion", 150)


def test_reset_is_the_loop_that_one_would_write(material):
    found = evaluate(material, "reset", "tent", batch=50, corruptions=NAMES, post=True)
    bundle, method = Bundle(BUNDLE), Tent()
    session, infer = AdaptSession(bundle), InferSession(bundle)
    prepare = build(bundle.manifest.preprocess, bundle.manifest.input)
    pre, post, frozen, items = [], [], [], []
    for k, name in enumerate(NAMES.split(",")):
        state = method.init(bundle.manifest, bundle.source_slots)
        order = np.random.default_rng([0, k]).permutation(150)
        for chosen in order.reshape(3, 50):
            chosen = material.chosen[chosen]
            images = corrupt(material.data.read(chosen, 0 * chosen), name, 5, 0, first=chosen)
            x = np.stack([prepare(Frame(image, 0.0, 0)) for image in images])
            state, outputs = method.adapt(state, x, session.run)
            pre += list(outputs["logits"].argmax(1))
            post += list(session.run("batch", x, state.slots).outputs["logits"].argmax(1))
            frozen += list(infer.run(x)["logits"].argmax(1))
            items += list(chosen)
    assert found.images["item"].tolist() == items
    assert found.images["pre"].tolist() == pre
    assert found.images["post"].tolist() == post
    assert found.images["frozen"].tolist() == frozen
    label = material.data.labels[items]
    assert found.rows[1]["error"] == pytest.approx(
        100 * np.mean((np.array(pre) != label)[150:]), abs=1e-9
    )
    assert found.rows[1]["images"] == 150 and found.rows[1]["visit"] == "contrast"


def test_none_changes_nothing_and_an_image_looks_alike_everywhere(material):
    one = evaluate(material, "reset", "none", batch=64, corruptions="fog")
    two = evaluate(material, "correlated:sorted", "none", batch=50, seed=3, corruptions="fog")
    for found in (one, two):
        assert np.array_equal(found.images["frozen"], found.images["pre"])
        assert found.rows[0]["error"] == found.rows[0]["frozen_error"]
    back = [np.argsort(found.images["item"]) for found in (one, two)]
    assert np.array_equal(one.images["frozen"][back[0]], two.images["frozen"][back[1]])


def test_a_killed_sweep_goes_on(tmp_path):
    words = [
        *(sys.executable, "-m", "tta", "evaluate", str(BUNDLE), "fashion", "--out", str(tmp_path)),
        *("--protocol", "reset,continual", "--adapter", "none,bn_stats", "--seed", "0,1"),
        *("--corruptions", NAMES, "--limit", "300", "--batch", "50"),
    ]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    while len(done := list(tmp_path.glob("*-s*.json"))) < 2 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: os.stat(path).st_mtime_ns for path in done}
    assert 2 <= len(kept) < 8, "it was too fast or too slow to be killed in the middle"
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    assert len(list(tmp_path.glob("*-s*.json"))) == 8
    assert all(os.stat(path).st_mtime_ns == when for path, when in kept.items())
    text = (tmp_path / "results.md").read_text()
    assert text.count("| reset | bn_stats | 50 |") > 0 and "| continual | none | 50 |" in text
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 1 + 8 * 2


def test_results_of_something_else_are_refused(tmp_path):
    sweep = Sweep(str(BUNDLE), "fashion", ("none",), ("clean",), limit=60)
    check(sweep, tmp_path)
    check(sweep, tmp_path)
    other = Sweep(str(BUNDLE), "fashion", ("none",), ("clean",), limit=61)
    with pytest.raises(TtaError, match="another data and another limit: name an empty folder"):
        check(other, tmp_path)


def test_jobs_and_a_dask_cluster_give_the_same(tmp_path):
    sweep = Sweep(
        str(BUNDLE), "fashion", ("none", "bn_stats"), ("clean",), batches=(50,), limit=100
    )
    distributed = pytest.importorskip("distributed", reason="needs the extra dev")
    pytest.importorskip("joblib", reason="needs the extra evaluate")
    folders = [tmp_path / name for name in ("one", "loky", "dask")]
    material, *_ = (check(sweep, folder) for folder in folders)
    assert len(list(run(sweep, folders[0], material))) == 2
    assert len(list(run(sweep, folders[1], material, jobs=2))) == 2
    cluster = {
        "n_workers": 1,
        "threads_per_worker": 1,
        "processes": False,
        "dashboard_address": None,
    }
    with distributed.Client(**cluster):
        assert len(list(run(sweep, folders[2], material, backend="dask"))) == 2
    rows = [
        [(line.adapter, line.error, line.gain) for line in lines(read(folder))]
        for folder in folders
    ]
    assert rows[0] == rows[1] == rows[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--adapter", "tnet"], "no adapter named 'tnet'"),
        (["--protocol", "resett"], "resett"),
        (["--adapter", ","], "no adapter is named"),
        (["--adapter", "tent,eata"], "export again with samples"),
        (["--batch", "x"], "whole numbers"),
        (["--tier", "huge"], "smoke or full"),
        (["--corruptions", "frog"], "frog"),
        (["--severity", "6"], "severity"),
    ],
)
def test_bad_words(words, message, tmp_path, capsys):
    code = main(["evaluate", str(BUNDLE), "fashion", "--out", str(tmp_path / "out"), *words])
    assert code == 1 and message in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*-s*.json"))


def test_data_of_another_model_are_refused():
    class Other:
        name, kind, windows = "others", "image", False
        lengths, labels = np.ones(5, int), np.full(5, 12)

        def __len__(self):
            return 5

    with pytest.raises(TtaError, match="these data are not the model's"):
        Material(Bundle(BUNDLE), Other())
