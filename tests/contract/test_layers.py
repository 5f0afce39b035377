"""Every file in export/layers/ keeps the contract of a layer kind."""

import re
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from torch import nn

from tta import registry
from tta.export.gradient import reverse
from tta.export.layers.hebbian import HebbianModulation
from tta.export.operators import OPSET, Operators
from tta.export.power_norm import PowerNorm
from tta.records import Role

KINDS = registry.names("tta.export.layers")
NORMS = [k for k in KINDS if k != HebbianModulation.kind]


@dataclass
class Example:
    """A node of that kind, by ONNX operator and by torch module, for inputs (N, *shape)."""

    op_type: str
    module: nn.Module
    shape: tuple[int, ...]
    attributes: dict = field(default_factory=dict)
    parameters: tuple[str, ...] = ("weight", "bias")


BATCH = ("weight", "bias", "running_mean", "running_var")
POWER = ("weight", "bias", "zero", "running_square")
EXAMPLES = {
    "batch_norm": [
        Example("BatchNormalization", nn.BatchNorm2d(5, 1e-3), (5, 4, 3), {"epsilon": 1e-3}, BATCH),
        Example("BatchNormalization", nn.BatchNorm1d(6), (6, 7), {}, BATCH),
        Example("BatchNormalization", nn.BatchNorm1d(6), (6,), {}, BATCH),
        Example("BatchNormalization", nn.BatchNorm3d(3), (3, 2, 4, 3), {}, BATCH),
    ],
    "power_norm": [
        Example("BatchNormalization", PowerNorm(5, 1e-3), (5, 4, 3), {"epsilon": 1e-3}, POWER),
        Example("BatchNormalization", PowerNorm(6), (6, 7), {}, POWER),
        Example("BatchNormalization", PowerNorm(6), (6,), {}, POWER),
    ],
    "layer_norm": [
        Example("LayerNormalization", nn.LayerNorm(6, 1e-6), (5, 6), {"epsilon": 1e-6}),
        Example("LayerNormalization", nn.LayerNorm(6), (6,), {"axis": 1}),
        Example("LayerNormalization", nn.LayerNorm((3, 4)), (2, 3, 4), {"axis": 2}),
        Example("LayerNormalization", nn.LayerNorm(6, bias=False), (5, 6), {}, ("weight",)),
    ],
    "group_norm": [
        Example("GroupNormalization", nn.GroupNorm(2, 6), (6, 4, 3), {"num_groups": 2}),
        Example("GroupNormalization", nn.GroupNorm(1, 4), (4, 5), {"num_groups": 1}),
    ],
    "instance_norm": [
        Example("InstanceNormalization", nn.InstanceNorm2d(5, affine=True), (5, 4, 3)),
        Example("InstanceNormalization", nn.InstanceNorm1d(5, affine=True), (5, 8)),
    ],
    "rms_norm": [
        Example("RMSNormalization", nn.RMSNorm(6, 1e-5), (5, 6), {"axis": -1}, ("weight",)),
        Example("RMSNormalization", nn.RMSNorm((3, 4), 1e-5), (2, 3, 4), {"axis": 2}, ("weight",)),
    ],
}
CASES = [(kind, k) for kind in NORMS for k in range(len(EXAMPLES.get(kind, [None])))]


def prepared(kind, index):
    """Example and layer class, the module's parameters drawn at random."""
    if kind not in EXAMPLES:
        pytest.fail(
            f"export/layers/{kind}.py has no example in tests/contract/test_layers.py: add to EXAMPLES "
            "its ONNX node and the torch module that it must equal"
        )
    example = EXAMPLES[kind][index]
    generator = torch.Generator().manual_seed(index)
    module = example.module.double().eval()
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                value.uniform_(0.4, 1.6, generator=generator)
                if name in ("bias", "running_mean"):
                    value.sub_(1)
    return example, registry.load("tta.export.layers", kind), module


def node(example, module, constant=True):
    """The example as a node of a source model."""
    op = Operators()
    x = op.input("x", np.float32, ["N", *example.shape])
    values = []
    for name in example.parameters:
        array = getattr(module, name).detach().numpy().astype(np.float32)
        tensor = ir.tensor(array)
        values.append(
            op.weight(f"block.norm.{name}", tensor)
            if constant
            else op.input(name, np.float32, array.shape)
        )
    made = ir.Node(
        "", example.op_type, [x, *values], ir.convenience.convert_attributes(example.attributes)
    )
    made.outputs[0].shape = x.shape
    made.outputs[0].type = x.type
    return made


class Graphs:
    """Inference, forward and gradient of one layer in one onnxruntime session."""

    def __init__(self, kind, index):
        example, self.layer, self.module = prepared(kind, index)
        self.norm = self.layer.match(node(example, self.module))
        op = Operators()
        x = op.input("x", np.float32, ["N", *example.shape])
        alpha = op.input("alpha", np.float32, [])
        dy = op.input("dy", np.float32, ["N", *example.shape])
        slots = {r: op.input(f"slot.{r}", np.float32, v.shape) for r, v in self.norm.slots.items()}
        plain = self.layer.infer(op, self.norm, x, slots)
        record, statistics = self.layer.forward(op, self.norm, x, slots, alpha)
        trained = [r for r in slots if r in ("scale", "bias")]
        found = reverse(op, [record], {record.outputs[0]: dy}, [x, *(slots[r] for r in trained)])
        results = {"plain": plain, "y": record.outputs[0], "dx": found[x]}
        results |= {f"d{r}": found[slots[r]] for r in trained}
        results |= dict(zip(("mean", "var", "count"), statistics))
        made = op.model(results, "layer")
        proto = ir.to_proto(made)
        onnx.checker.check_model(proto, full_check=True)
        self.operators = {n.op_type for n in proto.graph.node}
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.shape = example.shape

    def inputs(self, n, seed=0):
        generator = np.random.default_rng(seed)
        shape = (n, *self.shape)
        scale = generator.uniform(0.5, 2, self.shape[:1] + (1,) * (len(self.shape) - 1))
        return (generator.normal(0.3, scale, shape), generator.normal(size=shape))

    def __call__(self, x, dy, alpha):
        feed = {"x": x, "dy": dy, "alpha": alpha}
        feed |= {f"slot.{role}": value for role, value in self.norm.slots.items()}
        known = {i.name for i in self.session.get_inputs()}
        feed = {k: np.asarray(v, np.float32) for k, v in feed.items() if k in known}
        names = [o.name for o in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, feed)))

    def torch(self, x, dy, train):
        x = torch.tensor(x, requires_grad=True)
        norm = self.module
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            own = (None, None) if train else (norm.running_mean, norm.running_var)
            y = nn.functional.batch_norm(x, *own, norm.weight, norm.bias, train, 0.0, norm.eps)
        elif isinstance(norm, PowerNorm) and train:
            y = norm.by_batch(x)
        else:
            y = norm(x)
        parameters = {"scale": norm.weight, "bias": getattr(norm, "bias", None)}
        parameters = {k: v for k, v in parameters.items() if v is not None}
        y.backward(torch.tensor(dy))
        found = {"y": y, "dx": x.grad, **{f"d{k}": v.grad for k, v in parameters.items()}}
        out = {k: v.detach().numpy().copy() for k, v in found.items()}
        norm.zero_grad()
        return out


@pytest.fixture(scope="module", params=CASES, ids=lambda c: f"{c[0]}-{c[1]}")
def graphs(request):
    return Graphs(*request.param)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_called_as_its_file_and_cites_its_source(kind):
    hebbian = kind == HebbianModulation.kind
    layer = HebbianModulation if hebbian else registry.load("tta.export.layers", kind)
    assert layer.kind == kind
    assert re.search(r"\b(19|20)\d\d\b", layer.__doc__), "no paper in the docstring"
    assert re.search(r"\beq\.|algorithm", layer.__doc__), "no equation number in the docstring"


def test_match(graphs):
    norm = graphs.norm
    assert norm.kind == graphs.layer.kind and norm.name == "block.norm"
    assert set(norm.slots) <= set(get_args(Role)) and "scale" in norm.slots
    assert all(v.dtype == np.float32 and np.isfinite(v).all() for v in norm.slots.values())


@pytest.mark.parametrize(("kind", "index"), CASES)
def test_parameters_that_are_computed_are_no_layer(kind, index):
    example, layer, module = prepared(kind, index)
    assert layer.match(node(example, module, constant=False)) is None


@pytest.mark.parametrize("kind", NORMS)
def test_other_nodes_and_other_domains_are_no_layer(kind):
    layer = registry.load("tta.export.layers", kind)
    x = ir.Value(name="x", shape=ir.Shape([1, 2]), type=ir.TensorType(ir.DataType.FLOAT))
    assert layer.match(ir.Node("", "Relu", [x])) is None
    example, _, module = prepared(kind, 0)
    foreign = node(example, module)
    foreign.domain = "elsewhere"
    assert layer.match(foreign) is None


def test_it_keeps_to_the_canonical_opset(graphs):
    for op_type in graphs.operators:
        onnx.defs.get_schema(op_type, OPSET)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_source_statistics_are_torch_in_eval_mode(graphs, n):
    x, dy = graphs.inputs(n)
    got, want = graphs(x, dy, 0.0), graphs.torch(x, dy, train=False)
    assert np.abs(got["plain"] - want["y"]).max() < 1e-5
    agree(got, want)


@pytest.mark.parametrize("n", [2, 7])
def test_batch_statistics_are_torch_in_train_mode(graphs, n):
    x, dy = graphs.inputs(n)
    agree(graphs(x, dy, 1.0), graphs.torch(x, dy, train=True))


@pytest.mark.parametrize("alpha", [0.2, 0.7])
def test_gradients_between_by_finite_differences(graphs, alpha):
    """In float64 the function is not to be had, so the differences are of the float32 graph."""
    x, dy = graphs.inputs(3, seed=2)
    got = graphs(x, dy, alpha)
    generator = np.random.default_rng(0)
    for _ in range(3):
        way = generator.normal(size=x.shape)
        h = 1e-2
        plus, minus = (graphs(x + s * h * way, dy, alpha)["y"] for s in (1, -1))
        want = float((dy * (plus.astype(np.float64) - minus)).sum() / (2 * h))
        size = np.linalg.norm(got["dx"]) * np.linalg.norm(way)
        assert abs(float((got["dx"] * way).sum()) - want) < 2e-3 * size


def test_moments_are_those_of_numpy(graphs):
    x, dy = graphs.inputs(5)
    got = graphs(x, dy, 0.5)
    last = graphs.layer.kind in ("layer_norm", "rms_norm")
    channel = x.ndim - 1 if last else 1
    axes = tuple(k for k in range(x.ndim) if k != channel)
    assert np.allclose(got["mean"], x.mean(axes), atol=1e-6)
    assert np.allclose(got["var"], x.var(axes), rtol=1e-5)
    assert got["count"] == x.size / x.shape[channel]


def test_the_variance_of_a_stream_far_from_the_source(graphs):
    """Off by rounding at most, of the squared distance to what the layer takes as its origin."""
    x, dy = graphs.inputs(6)
    for offset in (10, 300):
        got = graphs(x + offset, dy, 1.0)
        last = graphs.layer.kind in ("layer_norm", "rms_norm")
        axes = tuple(k for k in range(x.ndim) if k != (x.ndim - 1 if last else 1))
        off = np.abs(got["var"] - x.var(axes))
        assert (off <= 4e-7 * (offset**2 + x.var(axes))).all() and (got["var"] >= 0).all()


@pytest.mark.parametrize("value", [0.0, 3.5])
def test_constant_frames_stay_finite(graphs, value):
    x, dy = graphs.inputs(1)
    for alpha in (0.0, 0.5, 1.0):
        assert all(np.isfinite(v).all() for v in graphs(0 * x + value, dy, alpha).values())


def agree(got, want):
    """To float32 rounding of terms that are of order 1 and may cancel, as they do for two values."""
    for key, value in want.items():
        size = np.linalg.norm(value)
        assert np.linalg.norm(got[key] - value) <= 1e-4 * size + 1e-4, key
