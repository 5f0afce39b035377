"""What the step graphs avoid, by counting nodes, and the passes against autograd where they meet."""

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from tests.models import mobilenet_v2, prepared, wrn
from tta.adapters.tent import Tent
from tta.export import to_bundle
from tta.export.canonical import canonical
from tta.export.lift import lift
from tta.export.optimize import pointwise
from tta.export.step_graph import step_graph
from tta.export.torch_graph import trace
from tta.runtime.session import AdaptSession


class Inverted(nn.Module):
    """An inverted residual between two convolutions: each pass has something to do."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU6) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), activation())
        self.widen = nn.Sequential(nn.Conv2d(6, 18, 1), nn.BatchNorm2d(18), activation())
        self.depthwise = nn.Sequential(
            nn.Conv2d(18, 18, 3, 1, 1, groups=18, bias=False), nn.BatchNorm2d(18), activation()
        )
        self.narrow = nn.Sequential(nn.Conv2d(18, 6, 1, bias=False), nn.BatchNorm2d(6))
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = self.stem(x)
        return self.head((x + self.narrow(self.depthwise(self.widen(x)))).mean((2, 3)))


def graph(net, example, **options):
    """The Tent step graph of a model and its lifted layers, unchecked."""
    lifted = lift(canonical(trace(net, example, "input")), (), layers=options.pop("layers", "all"))
    return step_graph(lifted, "entropy", Tent.objective, **options), lifted


def kinds(model):
    return Counter(node.op_type for node in model.graph)


@pytest.fixture(scope="module")
def references():
    """Node counts by kind of the two reference graphs."""
    net, _ = mobilenet_v2.full()
    narrow = kinds(graph(net, torch.zeros(1, 3, 224, 224))[0])
    net, _ = wrn.wrn_40_2()
    return {"mobilenet_v2": narrow, "wrn_40_2": kinds(graph(net, torch.zeros(8, 3, 32, 32))[0])}


# MobileNetV2: 52 convolutions forward, 51 back (none for the first), less 4 strided depthwise ones that are
# ConvTranspose, and one more for each of the 13 widening convolutions that are taken with their norm.
# WRN-40-2: 40 forward; back all but the first, 4 of them strided: ConvTranspose.
@pytest.mark.parametrize(
    ("model", "most"),
    [
        (
            "mobilenet_v2",
            {
                "Conv": 52 + 51 - 4 + 13,
                "ConvTranspose": 4,
                "BatchNormalization": 2 * 39,  # the affine forward and back; none where taken in
                "DequantizeLinear": 35,  # one mask an activation, with the norm's gain in it
                "And": 35,
                "Greater": 35,
                "Sqrt": 14,  # one for all norms, and one a norm that is taken in
                "Split": 8,
                "Identity": 60,
            },
        ),
        (
            "wrn_40_2",
            {
                "Conv": 40 + 39 - 4,
                "ConvTranspose": 4,
                "BatchNormalization": 2 * 37,
                "DequantizeLinear": 37,
                "Greater": 37,
                "Sqrt": 1,
                "Split": 8,
                "Identity": 60,
            },
        ),
    ],
)
def test_nothing_avoidable_is_in_a_reference_graph(references, model, most):
    found = references[model]
    assert {k: found[k] for k in most if found[k] > most[k]} == {}
    absent = ("Where", "Sign", "Pad", "Expand", "Tile", "Einsum", "ReduceSumSquare", "Pow")
    allowed = {"Expand": 2, "Pad": 0}
    assert {k: found[k] for k in absent if found[k] > allowed.get(k, 0)} == {}


def test_every_node_is_needed():
    made, _ = graph(*prepared(Inverted, (3, 16, 16), 0))
    outputs = {id(v) for v in made.graph.outputs}
    for node in made.graph:
        assert any(o.uses() or id(o) in outputs for o in node.outputs), node.name


def test_what_is_taken_in_is_the_widening_convolution():
    net, example = prepared(Inverted, (3, 16, 16), 0)
    _, lifted = graph(net, example)
    assert [norm.name for norm in pointwise.products(lifted).values()] == ["widen.1"]


def statistics(net, x):
    """Batch statistics of each norm's input at alpha = 0, by torch."""
    found = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda m, inputs, name=name: found.update(
                {name: (inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3), unbiased=False))}
            )
        )
        for name, module in net.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("option", ["", "constant_statistics", "recompute"])
@pytest.mark.parametrize("activation", [nn.ReLU6, nn.ReLU, nn.Identity, nn.Hardtanh])
def test_the_passes_agree_with_torch(activation, option, tmp_path):
    """``to_bundle`` compares every gradient at N = 1, 2, 8 and three alphas; here also the moments."""
    net, example = prepared(lambda: Inverted(activation), (3, 16, 16), 0)
    options = {"hebbian": (), "objectives": ("entropy",), **({option: True} if option else {})}
    made = to_bundle(net, example, tmp_path / "inverted.tta", **options)
    assert all(check.accepted == "tolerance" for check in made.checks), made.checks
    step = AdaptSession(made.bundle).run(
        "step/entropy", example.numpy(), made.bundle.source_slots, alpha=0.0
    )
    for layer, (mean, var) in statistics(net, example).items():
        assert np.allclose(step.moments[layer].mean, mean, rtol=1e-4, atol=1e-5)
        assert np.allclose(step.moments[layer].var, var, rtol=1e-4, atol=1e-6)
        assert step.moments[layer].n == 4 * 8 * 8


def test_a_gain_of_zero_keeps_its_bias_gradient(tmp_path):
    """Sums are over a·dz and divided by a, which must not lose what a = 0 hides."""
    net, example = prepared(Inverted, (3, 16, 16), 0)
    with torch.no_grad():
        for k, norm in enumerate((net.widen[1], net.depthwise[1], net.narrow[1])):
            norm.weight[k] = 0
            norm.weight[k + 3] = -0.7
            norm.bias[k] = 1.0  # so that the activation lets the gradient pass
    options = {"hebbian": (), "objectives": ("entropy",)}
    made = to_bundle(net, example, tmp_path / "zero.tta", **options)
    step = AdaptSession(made.bundle).run(
        "step/entropy", example.numpy(), made.bundle.source_slots, alpha=0.5
    )
    for k, layer in enumerate(("widen.1", "depthwise.1", "narrow.1")):
        assert abs(step.gradients[f"{layer}.bias"][k]) > 1e-6


def test_masks_are_taken_on_the_way_forward():
    """Each comparison stands before the first node of the way back, so that it reads what is warm."""
    made, _ = graph(*prepared(Inverted, (3, 16, 16), 0))
    order = {node.name: k for k, node in enumerate(made.graph)}
    loss = next(k for k, node in enumerate(made.graph) if node.op_type == "LogSoftmax")
    compared = [
        n for n in made.graph if n.op_type in ("Greater", "Less") and len(n.inputs[0].shape) == 4
    ]
    assert len(compared) == 6
    assert all(order[node.name] < loss for node in compared)


def test_recomputation_keeps_every_second_input():
    """The depthwise norm's input is made again from the widening convolution's narrow input."""
    net, example = prepared(Inverted, (3, 16, 16), 0)
    plain, _ = graph(net, example)
    lean, _ = graph(net, example, recompute=True)
    assert kinds(lean)["Conv"] == kinds(plain)["Conv"] + 2  # the widening one and the depthwise one
    assert kinds(lean)["Clip"] == kinds(plain)["Clip"] + 1


def test_dead_nodes_are_dropped():
    from tta.export.operators import Operators

    op = Operators()
    x = op.input("x", np.float32, ["N", 3])
    y = op.Mul(x, 2.0)
    op.Exp(op.Add(y, 1.0))
    model = op.model({"y": y}, "small")
    assert [node.op_type for node in model.graph] == ["Mul"]
    assert isinstance(model, ir.Model) and len(model.graph.initializers) == 1
