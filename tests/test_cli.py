"""The command line as a user meets it."""

import json
import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import tta
from tta.bundle import Bundle
from tta.cli import main
from tta.corruptions import corrupt
from tta.runtime.store import load_state

ROOT = Path(__file__).parents[1]
BUNDLE = str(files("tta.demo") / "fashion.tta")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """An archive of 64 drifted images with labels."""
    path = tmp_path_factory.mktemp("data") / "drifted.npz"
    with np.load(files("tta.demo") / "fashion_test.npz") as source:
        images, labels = source["images"][:64], source["labels"][:64]
    np.savez(path, images=corrupt(images, "contrast", 2), labels=labels)
    return path


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder; returns its exit status, output and error lines."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        status = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return call


def done(call):
    status, out, err = call
    assert status == 0, err
    return out, err


def refused(call):
    """The one sentence of a command that was refused."""
    status, _, err = call
    assert status == 1
    assert err.startswith("tta: ") and err.count("\n") == 1 and "Traceback" not in err
    return err.removeprefix("tta: ").strip()


def process(*arguments, cwd=ROOT, **more):
    command = [sys.executable, "-m", "tta", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, **more)


def records(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


# As processes


def test_version():
    result = process("--version")
    assert (result.returncode, result.stdout) == (0, f"tta {tta.__version__}\n")


def test_a_refusal_is_one_sentence_and_status_1():
    result = process("inspect", "no/such.tta")
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr == "tta: no bundle at no/such.tta: expected a folder or a zip of one\n"


def test_without_a_command_it_says_what_there_is():
    result = process()
    assert result.returncode == 2 and "COMMAND" in result.stderr
    listed = process("--help").stdout
    assert all(f"\n    {name} " in listed for name in ("export", "inspect", "run", "demo", "state"))


@pytest.mark.parametrize("command", [["run", BUNDLE], ["inspect", BUNDLE]])
def test_a_reader_that_left_is_no_error(data, command):
    """As with | head: no traceback, and no complaint at exit either."""
    if command[0] == "run":
        command = [*command, f"npz://{data}"]
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    read, write = os.pipe()
    os.close(read)
    try:
        left = subprocess.run(
            [sys.executable, "-m", "tta", *command],
            cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True, env=buffered,
        )  # fmt: skip
    finally:
        os.close(write)
    assert (left.returncode, left.stderr) == (0, "")


def test_onnxruntime_collects_nothing(data, tmp_path):
    """Its wheels keep a file of usage in the cache of whoever runs them, unless told not to."""
    home = {
        k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    }
    done = process(
        "run", BUNDLE, f"npz://{data}", "--limit", 2, env={**home, "HOME": str(tmp_path)}
    )
    assert done.returncode == 0 and list(tmp_path.iterdir()) == []


# tta run


def test_results_in_words_unless_told(run, data):
    out, err = done(run("run", BUNDLE, f"npz://{data}", "--limit", 20))
    lines = out.splitlines()
    assert len(lines) == 21
    assert re.fullmatch(
        r" +0 +0\.00 s  class \d \(\d+ %\)  entropy \d\.\d\d nats  [\d.]+ ms  (ok|warn|drift)",
        lines[0],
    )
    (decision,) = [line for line in lines if line.startswith("   ") and "step 0" in line]
    assert decision == "        propose: the stream left the source (step 0)"
    assert re.fullmatch(
        r"auto took bn_stats, for the model has norms with running statistics; reservoir\S+, "
        r"balanced over the answered classes\n"
        r"20 frames \(0 skipped\), 0 commits, 0 holds, 0 returns to the source, 0 rolled back; "
        r"state [0-9a-f]{12} at step 0\n",
        err,
    )


def test_a_folder_of_pictures(run, data, tmp_path):
    image = pytest.importorskip("PIL.Image")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with np.load(data) as arrays:
        for k, each in enumerate(arrays["images"][:36]):
            image.fromarray(each).save(pictures / f"{k:02d}.png")
    done(run("run", BUNDLE, f"dir://{pictures}", "--adapter", "nhl", "--sink", "jsonl:a.jsonl"))
    named = [f"npz://{data}?stop=36", "--adapter", "nhl", "--sink", "jsonl:b.jsonl"]
    done(run("run", BUNDLE, *named))
    of_pictures, of_arrays = records("a.jsonl"), records("b.jsonl")
    assert len(of_pictures) == 36
    assert [r["predicted"] for r in of_pictures] == [r["predicted"] for r in of_arrays]
    assert [of_pictures[k]["decision"]["action"] for k in (15, 31)] == ["propose", "commit"]
    assert of_pictures[-1]["state"] == of_arrays[-1]["state"] != of_pictures[0]["state"]


def test_labels_travel_with_the_frames(run, data):
    done(run("run", BUNDLE, f"npz://{data}", "--sink", "jsonl:out.jsonl", "--sink", "null"))
    with np.load(data) as arrays:
        assert [r["label"] for r in records("out.jsonl")] == arrays["labels"].tolist()


def test_serve_batch(run, data):
    for serve in ("batch", "stream"):
        command = ["run", BUNDLE, f"npz://{data}", "--serve", serve, "--limit", 40]
        command += ["--adapter", "nhl"]
        done(run(*command, "--sink", f"jsonl:{serve}.jsonl"))
    batch, stream = records("batch.jsonl"), records("stream.jsonl")
    assert [r["seq"] for r in batch] == [r["seq"] for r in stream] == list(range(40))
    assert {r["served"] for r in batch} == {"batch-post"}
    assert {r["served"] for r in stream} == {"stream"}
    assert batch[0]["confidence"] != stream[0]["confidence"]  # answered after its step


def test_a_saved_state_goes_on_where_it_stopped(run, data):
    command = ["run", BUNDLE, "--governor", "always", "--adapter", "nhl"]
    done(run(*command, f"npz://{data}", "--sink", "jsonl:whole.jsonl", "--save-state", "whole"))
    first = f"npz://{data}?stop=32"
    rest = f"npz://{data}?start=32"
    done(run(*command, first, "--sink", "jsonl:first.jsonl", "--save-state", "half"))
    resumed = ("--state", "half", "--save-state", "rest")
    done(run(*command, rest, "--sink", "jsonl:rest.jsonl", *resumed))
    bundle = Bundle(BUNDLE)
    whole, half, after = (load_state(name, bundle) for name in ("whole", "half", "rest"))
    assert (half.step, after.step, whole.step) == (2, 4, 4)
    assert after.hash == whole.hash and after.parent == whole.parent

    def said(lines):
        return [(r["predicted"], r["confidence"], r["state"]) for r in lines]

    assert said(records("whole.jsonl")) == said(records("first.jsonl") + records("rest.jsonl"))


def test_options_reach_the_stream(run, data):
    command = ["run", BUNDLE, f"npz://{data}", "--sink", "null", "--buffer", "batch"]
    assert "8 commits" in done(run(*command, "--batch", 8, "--governor", "always"))[1]
    assert "0 commits, 4 holds" in done(run(*command, "--governor", "off"))[1]
    assert "0 commits, 4 holds" not in done(run(*command, "--adapter", "none"))[1]
    assert "10 frames" in done(run(*command, "--limit", 10))[1]
    out, err = done(run("run", BUNDLE, f"npz://{data}", f"npz://{data}?stop=7", "--sink", "null"))
    assert out == ""
    assert [line.split(" (")[0] for line in err.splitlines()[1:]] == [
        "stream-0: 64 frames", "stream-1: 7 frames",
    ]  # fmt: skip


def test_frames_that_do_not_fit(run, tmp_path):
    np.savez(tmp_path / "small.npz", images=np.zeros((3, 5, 5), np.uint8))
    status, out, err = run("run", BUNDLE, "npz://small.npz")
    assert status == 1 and out.count("skipped: frame ") == 3
    _, summary, sentence = err.splitlines()
    assert summary.startswith("3 frames (3 skipped)")
    assert sentence.startswith("tta: no frame could be used, the last because frame 2 has shape")


BAD_RUNS = {
    "bundle": (["nowhere.tta", "{data}"], "no bundle at nowhere.tta"),
    "no bundle": ([".", "{data}"], "has no manifest.json, so it is no bundle: use tta export"),
    "source": ([BUNDLE, "nowhere.npz"], "'nowhere.npz' is no source: expected a camera number"),
    "scheme": ([BUNDLE, "dri://x"], "no source serves dri://; known: dir"),
    "missing archive": ([BUNDLE, "npz://nowhere.npz"], "there is none at nowhere.npz"),
    "option of a source": ([BUNDLE, "{data}?shufle=1"], "npz:// has no option 'shufle'"),
    "adapter": ([BUNDLE, "{data}", "--adapter", "tnet"], "no adapter named 'tnet'; known: tent"),
    "option": ([BUNDLE, "{data}", "--adapter", "tent?lrr=1"], "has no option 'lrr'; it has: lr,"),
    "value": (
        [BUNDLE, "{data}", "--adapter", "tent?lr=x"],
        "lr of adapter 'tent' must be a number",
    ),
    "sink": ([BUNDLE, "{data}", "--sink", "jsno:x"], "no sink named 'jsno'; known: jsonl"),
    "sink's folder": ([BUNDLE, "{data}", "--sink", "jsonl:no/x"], "mkdir -p no"),
    "device": (
        [BUNDLE, "{data}", "--device", "desktp"],
        "no device named 'desktp'; known: desktop",
    ),
    "state": ([BUNDLE, "{data}", "--state", "gone"], "no state file at gone"),
    "state's folder": ([BUNDLE, "{data}", "--save-state", "no/x"], "there is no folder no"),
    "two streams": ([BUNDLE, "{data}", "{data}", "--save-state", "x"], "name one source"),
}


@pytest.mark.parametrize("case", BAD_RUNS)
def test_a_bad_run_is_refused_in_a_sentence(run, data, tmp_path, case):
    arguments, message = BAD_RUNS[case]
    call = run("run", *[a.replace("{data}", str(data)) for a in arguments])
    assert message in refused(call)
    assert call[1] == "" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", ""])
def test_counts_are_whole_numbers(run, capsys, value):
    with pytest.raises(SystemExit) as caught:
        run("run", BUNDLE, "x", "--batch", value)
    assert caught.value.code == 2
    assert f"must be a whole number of at least 1, but is {value!r}" in capsys.readouterr().err


def test_another_methods_state(run, data):
    command = ["run", BUNDLE, f"npz://{data}", "--sink", "null"]
    done(run(*command, "--adapter", "tent", "--save-state", "s"))
    assert "adapter 'tent' made this state, and 'nhl' cannot" in refused(
        run(*command, "--adapter", "nhl", "--state", "s")
    )
    assert "auto took tent, which made the state" in done(run(*command, "--state", "s"))[1]
    assert "at step 3" in done(run(*command, "--state", "s", "--governor", "off"))[1]


def test_ctrl_c(run, monkeypatch):
    def interrupted(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("tta.runtime.loop.run", interrupted)
    assert run("run", BUNDLE, "synthetic://") == (130, "", "")


# tta inspect, tta state


def test_inspect(run):
    out, err = done(run("inspect", BUNDLE))
    assert out.startswith("FashionNet   bundle ") and out.endswith("\n") and err == ""
    out, _ = done(run("inspect", BUNDLE, "--json"))
    assert json.loads(out) == json.loads((Path(BUNDLE) / "manifest.json").read_text())


def test_state_show_and_export(run, data, tmp_path):
    done(run("run", BUNDLE, f"npz://{data}", "--sink", "null", "--save-state", "s"))
    out, _ = done(run("state", "show", BUNDLE, "s"))
    assert "adapter bn_stats, step 3" in out.splitlines()[0] and "norm.mean" in out
    out, _ = done(run("state", "export", BUNDLE, "s", "--onnx", "adapted.onnx"))
    assert re.fullmatch(r"adapted.onnx: state at step 3, 0\.\d\d MB, plain ONNX\n", out)
    out, _ = done(run("state", "export", BUNDLE, "--onnx", "source.onnx"))
    assert out.startswith("source.onnx: source model, ")
    ort = pytest.importorskip("onnxruntime")
    x = np.zeros((1, 1, 28, 28), np.float32)
    answers = [
        ort.InferenceSession(tmp_path / name, providers=["CPUExecutionProvider"]).run(
            ["logits"], {"input": x}
        )[0]
        for name in ("adapted.onnx", "source.onnx")
    ]
    assert np.abs(answers[0] - answers[1]).max() > 0.1


def test_bad_states(run, tmp_path):
    (tmp_path / "junk").write_bytes(b"junk")
    assert "no readable state file" in refused(run("state", "show", BUNDLE, "junk"))
    assert "no state file at gone" in refused(run("state", "show", BUNDLE, "gone"))
    assert "no state file" in refused(run("state", "export", BUNDLE, "gone", "--onnx", "x"))
    assert "no folder no" in refused(run("state", "export", BUNDLE, "--onnx", "no/x.onnx"))
    assert "it is a folder" in refused(run("state", "export", BUNDLE, "--onnx", "."))
    assert "no bundle at gone" in refused(run("state", "show", "gone", "junk"))
    assert [p.name for p in tmp_path.iterdir()] == ["junk"]


# tta export


FACTORIES = """
def text():
    return "model"

def options():
    import torch
    return torch.nn.Linear(2, 2), torch.zeros(1, 2), {"sampels": 1}

number = 3
"""


@pytest.fixture
def factories(tmp_path, monkeypatch):
    (tmp_path / "my_factories.py").write_text(FACTORIES)
    yield
    sys.modules.pop("my_factories", None)


def test_export_and_use(run, tmp_path):
    pytest.importorskip("torch")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(64, 64)).astype("f4"))
    (tmp_path / "names.txt").write_text("\n".join("abcdefghij") + "\n")
    (tmp_path / "x.tta").mkdir()
    (tmp_path / "x.tta" / "manifest.json").touch()
    (tmp_path / "x.tta" / "old").touch()
    command = ["export", "tests.models.mlp:factory", "-o", "x.tta", "--objectives", "entropy"]
    command += ["--samples", "x.npy", "--labels", "names.txt", "--checks"]
    assert refused(run(*command)) == "x.tta exists: choose another name or pass --overwrite"
    out, _ = done(run(*command, "--overwrite"))
    assert "x.tta: MLP" in out and "checks against torch passed" in out
    assert "not calibrated" not in out
    manifest = Bundle(tmp_path / "x.tta").manifest
    assert manifest.labels == tuple("abcdefghij")
    assert manifest.provides == ("batch", "step/entropy") and manifest.thresholds
    assert not (tmp_path / "x.tta" / "old").exists()
    source = "synthetic://?shape=64&frames=20"
    assert "20 frames" in done(run("run", "x.tta", source, "--adapter", "tent"))[1]
    said = refused(run("run", "x.tta", source, "--adapter", "nhl"))
    assert "needs step/nhl" in said and "export again with --objectives nhl" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such_module:factory"], "cannot load 'no_such_module:factory': No module named"),
        (["my_factories:gone"], "cannot load 'my_factories:gone': module 'my_factories' has no"),
        (["my_factories"], "the model is named pkg.mod:factory, but got 'my_factories'"),
        ([":factory"], "the model is named pkg.mod:factory, but got ':factory'"),
        ([".mod:factory"], "the model is named pkg.mod:factory"),
        (["my_factories:number"], "my_factories:number must be a function, but is of type int"),
        (["my_factories:text"], "must return (model, example) or (model, example, options)"),
        (["my_factories:options"], "returned unknown options sampels; to_bundle takes samples,"),
        (["tests.models.mlp:factory", "--samples", "gone.npz"], "samples cannot be read from gone"),
        (["tests.models.mlp:factory", "--samples", "my_factories.py"], "samples cannot be read"),
        (["tests.models.mlp:factory", "--labels", "gone.txt"], "labels cannot be read from gone"),
        (
            ["tests.models.mlp:factory", "--preprocess", "gone.json"],
            "spec cannot be read from gone",
        ),
        (["tests.models.mlp:factory", "--objectives", "entropi"], "the objective 'entropi'"),
        (["tests.models.mlp:factory", "--hebbian", "layers.9"], "is named 'layers.9'; nearest:"),
    ],
)
def test_a_bad_export_is_refused_in_a_sentence(run, factories, tmp_path, arguments, message):
    pytest.importorskip("torch")
    path = list(sys.path)
    assert message in refused(run("export", *arguments, "-o", "x.tta"))
    assert not (tmp_path / "x.tta").exists() and sys.path == path


def test_export_without_torch_has_the_pip_line(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None; from tta.cli import main; "
        "sys.exit(main(['export', 'a:b', '-o', 'x']))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == (
        "tta: tta export needs torch, which is not installed: pip install 'tta-edge[export]'\n"
    )
