"""What export refuses, in words that help, and without leaving anything behind."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from tests.bundles import bundle, session
from tta.bundle import Bundle
from tta.errors import ExportError, MismatchError, NoGradientError
from tta.export import assembly, to_bundle
from tta.export.canonical import canonical
from tta.export.gradient import rules
from tta.export.layers.hebbian import HebbianModulation
from tta.export.lift import lift
from tta.export.torch_graph import trace


class Between(nn.Module):
    """Two convolutions with norms, and something between them."""

    def __init__(self, between=None) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)
        self.between = between or torch.relu

    def forward(self, x):
        x = self.between(self.norm1(self.conv1(x)))
        return self.head(torch.relu(self.norm2(self.conv2(x))).mean((2, 3)))


def made(between=None):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Between(between), torch.randn(4, 2, 6, 6)


@pytest.fixture
def refused(tmp_path):
    """Exports and expects an error; nothing may be left in the target's folder."""

    def export(error, pattern, net, example, **options):
        with pytest.raises(error, match=pattern) as caught:
            to_bundle(net, example, tmp_path / "out.tta", **options)
        assert list(tmp_path.iterdir()) == []
        return str(caught.value)

    return export


def test_an_operator_without_a_rule(refused, monkeypatch):
    monkeypatch.delitem(rules(), "CumSum")
    net, x = made(lambda y: torch.cumsum(y, 1))
    message = refused(NoGradientError, "CumSum", net, x)
    assert "node_cumsum" in message  # the node's name in the traced graph
    still = message.partition("could still be adapted: ")[2]
    assert "norm2" in still and "norm1" not in still and "conv1" not in still


def test_an_operator_without_a_rule_before_all_layers(tmp_path, monkeypatch):
    """It lies on no gradient's way, so it does no harm."""
    monkeypatch.delitem(rules(), "CumSum")

    class Before(Between):
        def forward(self, x):
            return super().forward(torch.cumsum(x, 1))

    to_bundle(Before(), torch.randn(4, 2, 6, 6), tmp_path / "fine.tta", hebbian=())


def test_a_hebbian_layer_that_does_not_exist(refused):
    net, x = made()
    message = refused(ExportError, "conv3", net, x, hebbian=["conv3"])
    assert "nearest: conv" in message
    refused(ExportError, "no ungrouped convolution or linear layer", net, x, hebbian=["norm1"])


def test_nothing_to_adapt(refused):
    net = nn.Sequential(nn.Flatten(), nn.ReLU())
    refused(ExportError, "nothing to adapt", net, torch.randn(4, 2, 3))


@pytest.mark.parametrize("operator", ["Relu", "ReduceMean", "Gemm"])
def test_a_wrong_gradient_rule_is_caught(operator, refused, monkeypatch):
    """Two percent too much on the way back."""
    right = rules()[operator]

    def wrong(op, node, cotangents):
        return [None if g is None else op.Mul(g, 1.02) for g in right(op, node, cotangents)]

    monkeypatch.setitem(rules(), operator, wrong)
    net, x = made()
    message = refused(MismatchError, "wrong gradient rule", net, x, objectives=("entropy",))
    assert any(slot in message for slot in ("norm1.", "norm2.", "conv1."))


def test_a_wrong_layer_adjoint_is_caught(refused, monkeypatch):
    from tta.export.layers.batch_norm import BatchNorm

    right = BatchNorm.forward

    def wrong(*args):
        record, statistics = right(*args)
        adjoint = record.adjoint
        record.adjoint = lambda op, node, dys: [
            *adjoint(op, node, dys)[:2],
            op.Mul(adjoint(op, node, dys)[2], 0.98),
        ]
        return record, statistics

    monkeypatch.setattr(BatchNorm, "forward", staticmethod(wrong))
    net, x = made()
    refused(MismatchError, r"norm\d\.bias", net, x, objectives=("entropy",))


def test_a_wrong_hebbian_change_is_caught(refused, monkeypatch):
    right = HebbianModulation.change

    def wrong(op, *args):
        new, winner = right(op, *args)
        return op.Mul(new, 1.0005), winner

    monkeypatch.setattr(HebbianModulation, "change", staticmethod(wrong))
    net, x = made()
    refused(MismatchError, "Hebbian change of conv1", net, x)


def test_a_changed_weight_is_caught(refused, monkeypatch):
    right = assembly.canonical

    def wrong(traced):
        found = right(traced)
        weight = found.graph.initializers["conv2.weight"]
        weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(1.01))
        return found

    monkeypatch.setattr(assembly, "canonical", wrong)
    net, x = made()
    message = refused(MismatchError, "infer.onnx differs from the model", net, x)
    assert "the first layer whose input differs is norm2" in message


def test_an_existing_target(tmp_path):
    net, x = made()
    target = tmp_path / "kept"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="exists: choose another name"):
        to_bundle(net, x, target)
    with pytest.raises(ExportError, match="no bundle folder, so it stays"):
        to_bundle(net, x, target, overwrite=True)
    with pytest.raises(ExportError, match="no bundle folder, so it stays"):
        to_bundle(net, x, target / "thesis.txt", overwrite=True)
    assert [f.name for f in target.iterdir()] == ["thesis.txt"]
    assert [f.name for f in tmp_path.iterdir()] == ["kept"]


def test_overwriting_a_bundle(tmp_path, monkeypatch):
    net, x = made()
    target = tmp_path / "out.tta"
    first = to_bundle(net, x, target, objectives=()).bundle.hash
    monkeypatch.setattr(assembly, "verify", lambda *_: (_ for _ in ()).throw(MismatchError("no")))
    with pytest.raises(MismatchError):
        to_bundle(net, 2 * x, target, objectives=(), name="Other", overwrite=True)
    monkeypatch.undo()
    assert Bundle(target).hash == first  # the failure left the old one
    assert [f.name for f in tmp_path.iterdir()] == ["out.tta"]
    second = to_bundle(net, x, target, objectives=(), name="Other", overwrite=True).bundle
    assert second.manifest.name == "Other" and Bundle(target).hash == second.hash != first


EXAMPLES = {
    "no tensor": (np.zeros((4, 2, 6, 6), np.float32), "must be a tensor"),
    "no batch axis": (torch.zeros(6), "must be a tensor"),
    "integers": (torch.zeros(4, 2, 6, 6, dtype=torch.int64), "must hold floats"),
    "other channels": (torch.zeros(4, 3, 6, 6), "could not trace"),
    "other dtype": (torch.zeros(4, 2, 6, 6, dtype=torch.float64), "could not trace"),
    "not finite": (torch.full((4, 2, 6, 6), torch.nan), "all of it finite"),
    "empty": (torch.zeros(0, 2, 6, 6), "must be a tensor"),
}


@pytest.mark.parametrize("case", EXAMPLES)
def test_a_bad_example(case, refused):
    example, pattern = EXAMPLES[case]
    refused(ExportError, pattern, made()[0], example, objectives=())


SAMPLES = {
    "shape": np.zeros((8, 2, 6, 5), np.float32),
    "rank": np.zeros((2, 6, 6), np.float32),
    "none": np.zeros((0, 2, 6, 6), np.float32),
    "nan": np.full((8, 2, 6, 6), np.nan, np.float32),
    "inf": np.full((8, 2, 6, 6), np.inf, np.float32),
}


@pytest.fixture(scope="module")
def lifted():
    return lift(canonical(trace(*made())))


@pytest.mark.parametrize("case", SAMPLES)
def test_bad_samples(case, lifted):
    with pytest.raises(ExportError, match="samples must"):
        assembly._checked(lifted, SAMPLES[case])


def test_bad_samples_leave_nothing_behind(refused):
    net, x = made()
    refused(ExportError, "samples must", net, x, samples=SAMPLES["nan"], objectives=())


def test_bad_options(refused):
    net, x = made()
    refused(ExportError, "task is one of", net, x, task="dance")
    refused(
        ExportError, "no adapter needs the objective 'entropi'", net, x, objectives=("entropi",)
    )
    refused(ExportError, "as many distinct names", net, x, output_names=["a", "b"])
    refused(ExportError, "'features'", net, x, output_names=["features"])
    refused(ExportError, "2 labels for the 3 classes", net, x, labels=("a", "b"))


def test_a_map_is_no_classifier(refused):
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    refused(ExportError, "pass another task", net, torch.randn(4, 2, 6, 6))


def test_models_that_torch_cannot_trace(refused):
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("out of cheese")

    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    refused(ExportError, "could not trace Broken: .*out of cheese", Broken(), torch.randn(4, 3))
    refused(ExportError, "could not trace Two", Two(), torch.randn(4, 3))


def test_a_fixed_batch_is_refused(refused):
    class Fixed(Between):
        def forward(self, x):
            return super().forward(x.view(4, 2, 6, 6))

    refused(ExportError, "Fixed works for batches of 4 only", Fixed(), torch.randn(4, 2, 6, 6))


def test_the_model_is_left_as_it_was(tmp_path):
    net, x = made()
    net.train()
    net.norm2.eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    to_bundle(net, x, tmp_path / "out.tta", objectives=())
    assert net.training and net.norm1.training and not net.norm2.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_several_outputs_and_other_names(tmp_path):
    class Double(Between):
        def forward(self, x):
            y = super().forward(x)
            return y, y.softmax(-1)

    torch.manual_seed(0)
    opened = to_bundle(
        Double(),
        torch.randn(4, 2, 6, 6),
        tmp_path / "out.tta",
        output_names=["logits", "shares"],
        input_name="image",
        labels="abc",
    ).bundle
    assert set(opened.manifest.outputs) == {"logits", "shares", "features"}
    assert opened.manifest.input.name == "image" and opened.manifest.labels == ("a", "b", "c")
    assert opened.manifest.primary == "logits"


def test_a_large_model_s_constants_do_not_mix():
    """Graphs number their small constants alike; what they share in the weights file must not."""
    opened = bundle("mobilenet_v2:factory")
    for graph in opened.manifest.provides:
        session("mobilenet_v2:factory").session(graph)
    names = {n for each in opened.manifest.external.values() for n in each}
    assert not {n for n in names if n.startswith("const_") or n == "const"}
