"""What export writes: graphs that stand alone, functions one can see, weights once, the same each time."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from tests.autograd import HEBBIAN, Twin
from tests.bundles import batches, bundle, exported, model, session
from tta.export.calibrate import statistics, thresholds
from tta.export.canonical import canonical
from tta.export.lift import lift, zero_gradient
from tta.export.torch_graph import trace

ALL = list(HEBBIAN)
FUSED = ("resnet20:factory", "mobilenet_v2:factory", "fashion:factory", "norms:factory")


def options():
    made = ort.SessionOptions()
    made.intra_op_num_threads = 1
    made.log_severity_level = 3
    return made


@pytest.mark.parametrize("name", ALL)
def test_graphs_pass_the_checker(name):
    opened = bundle(name)
    onnx.checker.check_model(str(opened.graph("infer")), full_check=True)
    weights = load_file(opened.path / "weights.safetensors")
    infer_shapes = name.startswith("norms")  # takes a minute for all
    for graph in opened.manifest.provides:  # the checker opens no file above a graph's own folder
        proto = onnx.load(str(opened.graph(graph)), load_external_data=False)
        for tensor in proto.graph.initializer:
            if tensor.external_data:
                tensor.CopyFrom(onnx.numpy_helper.from_array(weights[tensor.name], tensor.name))
        onnx.checker.check_model(proto, full_check=infer_shapes)


@pytest.mark.parametrize("name", ALL)
def test_external_data_is_where_the_graphs_say(name):
    """By offset and length, read without any of our own code."""
    opened = bundle(name)
    weights = load_file(opened.path / "weights.safetensors")
    raw = (opened.path / "weights.safetensors").read_bytes()
    for graph in ("infer", *opened.manifest.provides):
        proto = onnx.load(str(opened.graph(graph)), load_external_data=False)
        external = [t for t in proto.graph.initializer if t.external_data]
        assert {t.name for t in external} == set(opened.manifest.external[graph])
        for tensor in external:
            entry = {e.key: e.value for e in tensor.external_data}
            start, length = int(entry["offset"]), int(entry["length"])
            assert raw[start : start + length] == weights[tensor.name].tobytes()
            assert tuple(tensor.dims) == weights[tensor.name].shape


@pytest.mark.parametrize("name", ALL)
def test_layers_are_functions_that_one_can_see(name):
    proto = onnx.load(str(bundle(name).graph("infer")), load_external_data=False)
    functions = {f.name.rpartition("_")[0] or f.name for f in proto.functions}
    assert {f.domain for f in proto.functions} == {"tta"}
    calls = [n.op_type for n in proto.graph.node if n.domain == "tta"]
    assert set(calls) == {f.name for f in proto.functions}
    assert "HebbianModulation" in functions
    kinds = list(bundle(name).manifest.layers.values())
    adaptive = [c for c in calls if c.startswith("AdaptiveNorm")]
    hebbian = [c for c in calls if c.startswith("HebbianModulation")]
    inside = len(kinds) - 1 - len(adaptive)  # a norm behind the Hebbian layer is in its function
    assert len(hebbian) == kinds.count("hebbian") == 1 and inside in (0, 1)
    assert adaptive, "no AdaptiveNorm in sight"


@pytest.mark.parametrize("name", ["resnet20:factory", "vit:factory", "norms:group"])
def test_infer_runs_alone_in_any_onnxruntime(name, tmp_path):
    opened = bundle(name)
    for file in ("infer.onnx", "weights.safetensors"):
        shutil.copy(opened.path / file, tmp_path)
    np.save(tmp_path / "x.npy", batches(name, 3))
    alone = (
        "import numpy, onnxruntime, sys\n"
        "s = onnxruntime.InferenceSession('infer.onnx', providers=['CPUExecutionProvider'])\n"
        "numpy.save('y.npy', s.run(['logits'], {'input': numpy.load('x.npy')})[0])\n"
        "assert 'tta' not in sys.modules and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", alone], cwd=tmp_path, check=True, timeout=120)
    with torch.no_grad():
        want = model(name)[0](torch.tensor(batches(name, 3))).numpy()
    assert np.abs(np.load(tmp_path / "y.npy") - want).max() < 1e-4 * max(1, np.abs(want).max())


@pytest.mark.parametrize("name", FUSED)
def test_onnxruntime_folds_batch_norms_into_convolutions(name, tmp_path):
    made = options()
    made.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    made.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(str(bundle(name).graph("infer")), made, providers=["CPUExecutionProvider"])
    optimized = onnx.load(str(tmp_path / "optimized.onnx"), load_external_data=False)
    nodes = [n.op_type for n in optimized.graph.node]
    assert nodes.count("BatchNormalization") == 0
    assert sum("Conv" in n for n in nodes) == sum(
        isinstance(m, nn.Conv2d) for m in model(name)[0].modules()
    )


@pytest.mark.parametrize("name", ALL)
def test_weights_are_stored_once(name):
    opened = bundle(name)
    weights = (opened.path / "weights.safetensors").stat().st_size
    held = [*model(name)[0].parameters(), *model(name)[0].buffers()]
    numbers = sum(v.numel() * v.element_size() for v in held)
    slots = sum(v.nbytes for v in opened.source_slots.values())
    assert weights <= numbers + slots + 64 * 1024  # the rest is the header and what the graphs fold
    for graph in ("infer", *opened.manifest.provides):
        proto = onnx.load(str(opened.graph(graph)), load_external_data=False)
        inline = sum(len(t.raw_data) for t in proto.graph.initializer if not t.external_data)
        assert inline < 16 * 1024
        for tensor in proto.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    assert entry.value == "../" * graph.count("/") + "weights.safetensors"


def test_slots_of_the_graphs_are_those_of_the_manifest():
    opened = bundle("resnet20:factory")
    names = {s.name for s in opened.manifest.slots}
    for graph in opened.manifest.provides:
        inputs = {i.name for i in session("resnet20:factory").session(graph).get_inputs()}
        scalars = {"input", "alpha", "sample_weight", "t_invert.conv1"}
        scalars |= {"eta", "anti", "max_norm", "centre"}
        assert inputs - scalars <= names
    infer = onnx.load(str(opened.graph("infer")), load_external_data=False)
    assert names <= {t.name for t in infer.graph.initializer}


def hashes(path):
    return json.loads((path / "manifest.json").read_text())["files"]


def test_the_same_export_gives_the_same_bytes(tmp_path):
    """Another process, with another seed for the order of its sets."""
    program = (
        "import sys; from pathlib import Path\n"
        "from tests import bundles\n"
        "made = bundles.bundle('sensor_cnn:factory')\n"
        "made.path.rename(sys.argv[1])\n"
    )
    out = tmp_path / "again.tta"
    subprocess.run(
        [sys.executable, "-c", program, str(out)],
        check=True,
        timeout=300,
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": "."},
    )
    first = bundle("sensor_cnn:factory").path
    assert hashes(out) == hashes(first)
    assert (out / "manifest.json").read_bytes() == (first / "manifest.json").read_bytes()


def test_calibration_is_that_of_the_samples():
    name = "fashion:factory"
    samples = batches(name, 64, seed=99)
    found = bundle(name).calibration()
    twin = Twin(model(name)[0], HEBBIAN[name])
    twin(samples, alpha=0.0)
    for layer, (mean, var) in twin.moments.items():
        assert np.allclose(found[f"mean.{layer}"], mean, atol=1e-4)
        assert np.allclose(found[f"var.{layer}"], var, rtol=1e-3, atol=1e-6)
    logits = torch.tensor(twin(samples, alpha=0.0).outputs["logits"])
    entropy = torch.distributions.Categorical(logits=logits).entropy().numpy()
    assert np.allclose(found["entropy"], entropy, atol=1e-4)
    manifest = bundle(name).manifest
    assert manifest.provenance["calibration_samples"] == 64
    kinds = ("statistics_kl", "statistics_kl_mixed")
    assert set(manifest.thresholds) == {f"{k}@{n}" for k in kinds for n in (8, 16)} | {"entropy"}


def test_samples_in_order_stray_further_in_batches_than_mixed_ones():
    name = "fashion:factory"
    made, run = bundle(name), session(name)
    samples = batches(name, 64, seed=99)
    ramp = samples + np.linspace(-2, 2, 64, dtype=np.float32)[:, None, None, None]
    found = thresholds(made, run, ramp, statistics(made, run, ramp))
    for n in (8, 16):
        assert found[f"statistics_kl_mixed@{n}"] < 0.5 * found[f"statistics_kl@{n}"]


def test_the_temperature_makes_winners_take_most():
    for name in ("fashion:factory", "mlp:factory", "vit:factory"):
        layer = HEBBIAN[name][0]
        found = bundle(name).manifest.defaults["nhl"]["t_invert"][layer]
        batch = batches(name, 64, seed=99) if name.startswith("fashion") else model(name)[1].numpy()
        step = session(name).run("step/nhl", batch, bundle(name).source_slots)
        assert step.winner[layer] == pytest.approx(0.7, abs=0.02) and found > 0


def test_costs_and_checks_are_reported():
    made = exported("fashion:factory")
    assert all(c.error <= 1 for c in made.checks if c.accepted == "tolerance")
    groups = {c.group: c for c in made.costs}
    assert groups["inference"].ms > 0
    assert groups["norm affine (scale, bias)"].slots == 2 * 7
    hebbian = groups["Hebbian (weight, gain, shift)"]
    assert hebbian.numbers == 16 * 9 + 32


# --- zero gradients -------------------------------------------------------------------------------


def vanishing(twin, batch):
    gradients = twin(batch, 1.0).gradients
    top = max(np.linalg.norm(g) for g in gradients.values())
    return {k for k, g in gradients.items() if np.linalg.norm(g) <= 1e-11 * top}


@pytest.mark.parametrize("name", ALL)
def test_zero_gradients_are_those_that_vanish_in_float64(name):
    found = vanishing(Twin(model(name)[0], HEBBIAN[name]), batches(name, 4, seed=3))
    assert set(bundle(name).manifest.zero_gradient) == found
    if name.startswith(("wrn", "mobilenet")):
        assert found


@pytest.mark.parametrize("name", ["wrn:factory", "mobilenet_v2:factory"])
def test_zero_gradients_are_masked_only_under_batch_statistics(name):
    opened, batch = bundle(name), batches(name, 4)
    at = {
        alpha: session(name).run("step/entropy", batch, opened.source_slots, alpha=alpha).gradients
        for alpha in (1.0, 0.99, 0.0)
    }
    for slot in opened.manifest.zero_gradient:
        assert not at[1.0][slot].any()
        assert at[0.99][slot].any() and at[0.0][slot].any()


def net(*layers):
    """A convolution and a norm, the layers in question, and a head."""
    body = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), *layers)
    return nn.Sequential(*body, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


class Branches(nn.Module):
    """Two readers of one norm."""

    def __init__(self, second: nn.Module) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
        self.first = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.second, self.head = second, nn.Linear(4, 3)

    def forward(self, x):
        z = self.norm(self.stem(x))
        return self.head((torch.relu(self.first(z)) + self.second(z)).mean((2, 3)))


conv, norm = (lambda k, **o: nn.Conv2d(4, 4, k, **o)), (lambda: nn.BatchNorm2d(4))
NETS = {
    "pointwise convolution": (net(conv(1), norm()), True),
    "convolution without padding": (net(conv(3), norm()), True),
    "convolution with padding": (net(conv(3, padding=1), norm()), False),
    "depthwise without padding": (net(conv(3, groups=4), norm()), True),
    "average pooling": (net(nn.AvgPool2d(2), conv(1), norm()), True),
    "padded average pooling": (net(nn.AvgPool2d(3, 2, 1), norm()), False),
    "max pooling": (net(nn.MaxPool2d(3, 2, 1), conv(1), norm()), True),
    "instance norm": (net(conv(1), nn.InstanceNorm2d(4, affine=True)), True),
    "group norm": (net(conv(1), nn.GroupNorm(2, 4)), False),
    "relu": (net(nn.ReLU(), conv(1), norm()), False),
    "a branch that keeps it": (Branches(nn.ReLU()), False),
    "both branches drop it": (Branches(nn.Sequential(conv(1), norm(), nn.ReLU())), True),
}


@pytest.mark.parametrize("case", NETS)
def test_what_carries_a_constant(case):
    made, expected = NETS[case]
    first = ("0", "1") if isinstance(made, nn.Sequential) else ("stem", "norm")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        batch = torch.randn(5, 2, 9, 9)
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    found = set(zero_gradient(lift(canonical(trace(made, batch)))))
    assert found == vanishing(Twin(made, first), batch.numpy())
    assert (f"{first[1]}.bias" in found) is expected
