"""One trained model of each task: exported, streamed under shift, adapted, guarded, evaluated."""

import csv
import functools
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models import tasks as models
from tests.recipes import make_task_data
from tta import registry
from tta.bundle import Bundle
from tta.cli import main
from tta.errors import ExportError, SourceError
from tta.export import to_bundle
from tta.runtime.method import source_state
from tta.runtime.session import AdaptSession

_FOLDER = tempfile.TemporaryDirectory(prefix="tta-tests-")
FOLDER = Path(_FOLDER.name)
SHIFT = {"regress": "sensor_gain", "multilabel": "gaussian_noise", "embed": "brightness"}
NAMES = ("segment", "detect", "multilabel", "embed", "regress")
METHODS = {"segment": "bn_stats,dice", "detect": "bn_stats,tent", "multilabel": "bn_stats,tent"}
SOME = 64  # calibration samples: the drift of fewer than 256 is not calibrated, which takes long


@functools.cache
def data():
    make_task_data.write(FOLDER / "data", 128)
    return FOLDER / "data"


@functools.cache
def bundle(name):
    try:
        model, example, options = getattr(models, name)()
    except SourceError as error:
        pytest.skip(str(error))
    few = slice(None, 250 if name == "embed" else SOME)  # of an embedder they are the gallery
    options |= {key: options[key][few] for key in ("samples", "targets")}
    made = to_bundle(model, example, FOLDER / f"{name}.tta", **options)
    assert all(check.error <= 1 or check.accepted != "tolerance" for check in made.checks)
    return made.bundle


def evaluated(name, tmp_path, *more):
    out = tmp_path / "lines.json"
    arguments = (bundle(name).path, data() / f"{name}.npz", *more, "--batch", "16", "--json", out)
    assert main(["evaluate", *map(str, (*arguments, "--out", tmp_path / "out"))]) == 0
    return json.loads(out.read_text())["lines"]


@pytest.mark.parametrize("name", NAMES)
def test_it_adapts_under_shift_and_the_gain_is_told(name, tmp_path):
    shift = ("--corruptions", SHIFT.get(name, "gaussian_noise"), "--severity", "3")
    lines = evaluated(name, tmp_path, "--adapter", METHODS.get(name, "bn_stats,actmad"), *shift)
    statistics, learned = lines
    assert statistics["task"] == name and statistics["adapter"] == "bn_stats"
    assert statistics["gain"]["mean"] > 0.15 * statistics["frozen_error"]
    assert statistics["gain"]["low"] > 0
    assert learned["gain"]["mean"] > 0 and learned["agreement"] < 1
    assert statistics["frames"] == 128 and statistics["frozen_error"] == learned["frozen_error"]


@pytest.mark.parametrize("name", NAMES)
def test_under_the_governor_the_clean_stream_keeps_its_answers(name, tmp_path):
    (line,) = evaluated(
        name, tmp_path, "--adapter", "auto", "--protocol", "clean", "--serve", "stream",
        "--governor", "auto",
    )  # fmt: skip
    assert line["error"] <= line["frozen_error"] * 1.02 + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_the_governor_keeps_a_ruinous_method_out(name, tmp_path):
    """A step size far too large, on frames that have left the source."""
    method = "tent?lr=0.3" if name in METHODS else "actmad?lr=0.3"
    kind = {"regress": "sensor_gain", "embed": "gaussian_noise"}.get(name, "contrast")
    shift = ("--corruptions", kind, "--severity", "1")
    more = ("--adapter", method, "--serve", "stream", *shift, "--governor")
    (ruined,) = evaluated(name, tmp_path, *more, "always")
    (guarded,) = evaluated(name, tmp_path, *more, "auto")
    assert ruined["error"] > 1.5 * ruined["frozen_error"]
    assert guarded["error"] < guarded["frozen_error"] + 0.3 * (
        ruined["error"] - ruined["frozen_error"]
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_says_the_answers_of_the_task(name, tmp_path):
    lines = tmp_path / "lines.jsonl"
    source = f"npz://{data() / name}.npz?stop=3"
    assert main(["run", str(bundle(name).path), source, "--sink", f"jsonl:{lines}"]) == 0
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(found) == 3
    for each in found:
        assert each["predicted"] is not None
        assert (each["entropy"] is None) == (name in ("regress", "embed"))
        assert (each["confidence"] is None) == (name == "regress")


def test_a_head_learns_its_units_from_a_few_labels(tmp_path, capsys):
    opened = bundle("regress")
    with np.load(data() / "regress.npz") as file:
        windows, targets = file["windows"], file["targets"]
    given, out = tmp_path / "degrees.npz", tmp_path / "state.safetensors"
    np.savez(given, windows=windows, targets=57.3 * targets)
    arguments = (opened.path, given, "-o", out, "--learn", 24, "--spread")
    assert main(["fit", *map(str, arguments)]) == 0
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    errors = {row[1].strip(): float(row[2]) for row in rows}
    assert errors["fitted"] < 0.4 * errors["source"]

    lines = tmp_path / "lines.jsonl"
    run = (opened.path, f"npz://{given}?stop=64", "--state", out, "--governor", "off")
    assert main(["run", *map(str, run), "--sink", f"jsonl:{lines}"]) == 0
    said = [json.loads(line)["predicted"]["turn_rad_s"] for line in lines.read_text().splitlines()]
    assert np.abs(np.array(said) - 57.3 * targets[:64, 0]).mean() < 2 * errors["fitted"]


def test_a_gallery_is_judged_for_a_state(tmp_path, capsys):
    opened, state = bundle("embed"), tmp_path / "state.safetensors"
    frames = data() / "embed.npz"
    run = (opened.path, f"npz://{frames}", "--adapter", "bn_stats", "--governor", "always")
    assert main(["run", *map(str, run), "--sink", "null", "--save-state", str(state)]) == 0
    out = tmp_path / "rotation.safetensors"
    arguments = (opened.path, frames, "--state", state, "--out", out)
    assert main(["gallery", *map(str, arguments)]) == 0
    assert "valid: " in capsys.readouterr().out and out.is_file()
    assert main(["gallery", str(opened.path), str(frames)]) == 1
    assert "nothing has changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("regress", ("evaluate", "DATA", "--adapter", "tent"), "tent' takes class scores"),
        ("segment", ("evaluate", "DATA", "--adapter", "eata"), "eata' takes one class a frame"),
        ("embed", ("evaluate", "DATA", "--protocol", "correlated:0.1"), "sorts frames by class"),
        ("segment", ("evaluate", "DATA", "--post"), "are for classifiers"),
        ("segment", ("evaluate", "OTHER"), "targets of Segmenter are whole numbers"),
        ("detect", ("evaluate", "OTHER"), "targets of Detector are boxes"),
        ("segment", ("run", "npz://DATA", "--buffer", "reliable"), "chooses frames by their class"),
        ("segment", ("fit", "DATA", "-o", "x"), "fit is for regressions"),
        ("segment", ("gallery", "DATA", "--state", "x"), "galleries are of embedders"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name, arguments, says, capsys, tmp_path):
    frames, other = (str(data() / f"{n}.npz") for n in (name, "multilabel"))
    command, *rest = (a.replace("DATA", frames).replace("OTHER", other) for a in arguments)
    rest += ["--out", str(tmp_path / "out")] if command == "evaluate" else []
    assert main([command, str(bundle(name).path), *rest]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert says in said and said.count("\n") == 0


def test_what_an_embedder_knows_of_the_source_is_its_gallery():
    known = Bundle(bundle("embed").path).calibration()
    assert known["task.gallery"].shape == (250, 32) and known["task.gallery_labels"].shape == (250,)


def test_features_are_a_vector_where_there_is_no_last_linear_layer():
    for name, width in (("segment", 12), ("detect", 48)):
        assert bundle(name).manifest.outputs["features"] == (width,)


class Small(torch.nn.Module):
    """(N, 1, 8, 8) to maps (N, 3, 8, 8), or means of them, through a last function."""

    def __init__(self, last, mean=False):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU()
        )
        self.head, self.last, self.mean = torch.nn.Conv2d(4, 3, 1), last, mean

    def forward(self, x):
        y = self.head(self.body(x))
        return self.last(y.mean((2, 3)) if self.mean else y)


def small(last, mean=False):
    torch.manual_seed(0)
    return Small(last, mean).eval(), torch.randn(4, 1, 8, 8)


def test_a_primary_output_may_have_another_name(tmp_path):
    made = to_bundle(
        *small(torch.nn.Identity()), tmp_path / "x.tta", task="segment", output_names=["mask"]
    ).bundle
    assert made.manifest.primary == "mask"
    assert {"step/entropy", "step/dice", "step/actmad"} <= set(made.manifest.provides)
    dice = registry.build("tta.adapters", "dice")
    x = small(torch.nn.Identity())[1].numpy()
    state, outputs = dice.adapt(source_state(dice, made), x, AdaptSession(made).run)
    assert state.step == 1 and outputs["mask"].shape == (4, 3, 8, 8)


@pytest.mark.parametrize(
    ("task", "last", "mean"),
    [
        ("segment", torch.nn.Softmax(1), False),
        ("multilabel", torch.nn.Sigmoid(), True),
    ],
)
def test_probabilities_are_no_logits(task, last, mean, tmp_path):
    with pytest.raises(
        ExportError, match=f"but a model for {task} gives logits: export it without"
    ):
        to_bundle(*small(last, mean), tmp_path / "x.tta", task=task)


@pytest.mark.parametrize("task", ["segment", "detect", "classify", "multilabel", "embed"])
def test_an_output_of_another_shape_is_refused(task, tmp_path):
    mean = task in ("segment", "detect")  # a vector where a map is due, and the other way round
    with pytest.raises(ExportError, match=r"but this one is .*: pass another task"):
        to_bundle(*small(torch.nn.Identity(), mean), tmp_path / "x.tta", task=task)


def test_an_objective_that_does_not_fit_is_refused_by_name(tmp_path):
    net, x = small(torch.nn.Identity(), True)
    with pytest.raises(
        ExportError, match="'dice' takes a class at each position, which a model for"
    ):
        to_bundle(net, x, tmp_path / "x.tta", task="regress", objectives=["dice"])


def test_rows_and_lines_of_other_sinks_say_the_answer(tmp_path, capsys):
    rows, source = tmp_path / "rows.csv", f"npz://{data() / 'segment'}.npz?stop=2"
    assert main(["run", str(bundle("segment").path), source, "--sink", f"csv:{rows}"]) == 0
    with rows.open(newline="") as file:
        head, first, _ = csv.reader(file)
    told, sure = (first[head.index(column)] for column in ("predicted", "confidence"))
    assert told.startswith("background 0.") and float(sure) > 0.5
    capsys.readouterr()
    assert main(["run", str(bundle("segment").path), source, "--sink", "stdout"]) == 0
    assert "background 0." in capsys.readouterr().out
