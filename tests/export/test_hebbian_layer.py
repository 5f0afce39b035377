"""The Hebbian change: golden vectors, invariants, and an unfolding of patches written for the tests."""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from torch import nn

from tests.autograd import patches, soft_hebbian
from tta.export.layers.hebbian import Hebbian, HebbianModulation, Plasticity
from tta.export.operators import Operators
from tta.export.reference import Rule, hebbian_change

X = (((np.arange(18) % 7) - 3) / 3).reshape(2, 1, 3, 3)
W1 = ((((np.arange(18) * 5) % 11) - 5) / 10).reshape(2, 1, 3, 3)
W2 = ((((np.arange(18) * 5) % 13) - 6) / 10).reshape(2, 1, 3, 3)
# fmt: off
UNIT = [[.075102, -.025618, .699818, -.081459, -1.298869, -1.238227, .182584, -.032288, -.401073],
        [.088820, -.290037, -.689507, -.871614, -.800448, -.352264, .747347, .137712, -.639747]]
NORM = [[.086269, -.023825, .634406, -.072472, -1.221088, -1.144981, .159949, -.020173, -.379567],
        [.084034, -.280806, -.671473, -.845466, -.773783, -.342227, .727048, .132520, -.618963]]
ANTI = [[.848043, -2.835306, -1.985313, 1.535372, 3.320598, -.706398, .703434, -.860114, -1.529439],
        [.994384, .695589, 1.746557, -1.031132, -2.044931, -.687373, -1.575915, 2.061512, 1.427146]]
# fmt: on


def conv(w, **options):
    layer = nn.Conv2d(1, 2, 3, padding=1, bias=False, **options).double()
    layer.weight.data = torch.tensor(w)
    return layer


def plain(layer, x, rule, norms=None):
    return hebbian_change(layer, torch.tensor(x), layer.weight.detach(), rule, norms).numpy()


@pytest.mark.parametrize(
    ("w", "anti", "norms", "want"),
    [
        (W1, False, torch.ones(2, dtype=torch.float64), UNIT),
        (W1, False, None, NORM),
        (W2, True, torch.ones(2, dtype=torch.float64), ANTI),
    ],
    ids=["vector 1, R = 1", "vector 1, R = |w|²", "vector 2, anti-Hebbian, R = 1"],
)
def test_golden_vectors(w, anti, norms, want):
    rule = Rule(anti=anti)
    assert np.allclose(plain(conv(w), X, rule, norms).reshape(2, 9), want, atol=6e-7)
    rows = patches(torch.tensor(X), conv(w))
    ours, _ = soft_hebbian(rows, torch.tensor(w).flatten(1), 1.0, anti, norms)
    assert np.allclose(ours.numpy(), want, atol=6e-7)


class Graph:
    """The exported change of one layer as an onnxruntime session."""

    def __init__(self, op_type, w, x_shape, unit_axis=0, **attributes):
        op = Operators()
        x = op.input("x", np.float32, ["N", *x_shape])
        weight, source = (op.input(n, np.float32, w.shape) for n in ("w", "source"))
        t_invert = op.input("t_invert", np.float32, [])
        steered = ("eta", "anti", "max_norm", "centre")
        plasticity = Plasticity(*(op.input(n, np.float32, []) for n in steered))
        node = ir.Node("", op_type, [x, weight], ir.convenience.convert_attributes(attributes))
        layer = Hebbian(
            "layer",
            node,
            np.asarray(w, np.float32),
            w.shape[unit_axis],
            unit_axis,
            node.outputs[0],
            1,
        )
        new, winner = HebbianModulation.change(op, layer, x, weight, source, t_invert, plasticity)
        made = op.model({"new": new, "winner": winner}, "hebbian")
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(
            ir.to_proto(made).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(
        self, x, w, source=None, eta=1e-2, anti=False, max_norm=True, t_invert=1.0, centre=False
    ):
        scalars = {"eta": eta, "anti": anti, "max_norm": max_norm, "t_invert": t_invert}
        scalars["centre"] = centre
        feed = {"x": x, "w": w, "source": w if source is None else source, **scalars}
        return self.session.run(None, {k: np.asarray(v, np.float32) for k, v in feed.items()})


def turned(w, change, eta, source=None, max_norm=True, rows=1):
    """w' from Δw by the formula, in float64."""
    source = w if source is None else source
    change = change / (np.abs(change).max() if max_norm else rows)
    moved = w + eta * change
    length = np.sqrt((source**2).sum(1) / (moved**2).sum(1))
    return moved * length[:, None]


@pytest.mark.parametrize("anti", [False, True])
def test_golden_vectors_through_the_graph(anti):
    """The graph has R = ‖w‖²; from w' and w the change follows up to its scale and length."""
    w = W2 if anti else W1
    graph = Graph("Conv", w, (1, 3, 3), pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    (new, _) = graph(X, w, eta=0.1, anti=anti)
    if anti:
        square = (w.reshape(2, 9) ** 2).sum(1, keepdims=True)
        yu = np.array([[3.089433], [4.986990]])
        yx = np.asarray(ANTI) + yu * w.reshape(2, 9)
        change = square * yx - yu * w.reshape(2, 9)
    else:
        change = np.asarray(NORM)
    assert np.abs(new.reshape(2, 9) - turned(w.reshape(2, 9), change, 0.1)).max() < 1e-6


LAYERS = {
    "same": (nn.Conv2d(3, 8, 3, padding=1), (3, 9, 10)),
    "strided": (nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 9, 10)),
    "dilated": (nn.Conv2d(2, 5, 3, dilation=2, padding=2), (2, 9, 9)),
    "skewed": (nn.Conv2d(2, 5, (3, 2), stride=(1, 3), padding=(2, 0), dilation=(2, 1)), (2, 11, 9)),
    "remainder": (nn.Conv2d(2, 4, 3, stride=3), (2, 10, 11)),
    "pointwise": (nn.Conv2d(4, 6, 1), (4, 5, 5)),
    "conv1d": (nn.Conv1d(3, 7, 5, stride=2, padding=2), (3, 21)),
    "conv1d dilated": (nn.Conv1d(3, 7, 3, dilation=3, padding=3), (3, 21)),
    "linear": (nn.Linear(9, 6), (9,)),
    "tokens": (nn.Linear(9, 6), (4, 9)),
}


def exported(layer, shape, matmul=False):
    """Graph of that layer, and its weight as the graph wants it."""
    w = layer.weight.detach().numpy()
    if matmul:
        return Graph("MatMul", w.T, shape, unit_axis=1), lambda a: a.T
    if isinstance(layer, nn.Linear):
        return Graph("Gemm", w, shape, transB=1), lambda a: a
    pads = list(layer.padding) * 2
    attributes = {
        "kernel_shape": list(layer.kernel_size),
        "strides": list(layer.stride),
        "dilations": list(layer.dilation),
        "pads": pads,
    }
    return Graph("Conv", w, shape, **attributes), lambda a: a


def drawn(name, n, seed=0):
    layer, shape = LAYERS[name]
    generator = np.random.default_rng(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(generator.normal(0, 0.4, layer.weight.shape)))
    return layer, shape, generator.normal(size=(n, *shape)).astype(np.float32)


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("anti", [False, True])
@pytest.mark.parametrize("name", [*LAYERS, "matmul", "matmul tokens"])
def test_graph_equals_the_unfolded_form(name, anti, n):
    matmul = name.startswith("matmul")
    layer, shape, x = drawn({"matmul": "linear", "matmul tokens": "tokens"}.get(name, name), n)
    graph, turn = exported(layer, shape, matmul)
    w = layer.weight.detach().double()
    source = w + 0.05 * torch.randn(
        w.shape, dtype=w.dtype, generator=torch.Generator().manual_seed(3)
    )
    rows = patches(torch.tensor(x, dtype=w.dtype), layer)
    change, y = soft_hebbian(rows, w.flatten(1), 2.0, anti, source.flatten(1).square().sum(1))
    again = hebbian_change(
        layer,
        torch.tensor(x).double(),
        w,
        Rule(anti=anti, t_invert=2.0),
        source.flatten(1).square().sum(1),
    )
    assert torch.allclose(again.flatten(1), change, rtol=1e-10, atol=1e-10)
    for max_norm in (True, False):
        new, winner = graph(
            x, turn(w.numpy()), turn(source.numpy()), 0.05, anti, max_norm, t_invert=2.0
        )
        want = turned(
            w.flatten(1).numpy(),
            change.numpy(),
            0.05,
            source.flatten(1).numpy(),
            max_norm,
            len(rows),
        )
        assert np.abs(turn(new).reshape(want.shape) - want).max() < 2e-6
        assert winner == pytest.approx(float(y.max(1).values.mean()), rel=1e-5)
    assert torch.allclose(y.sum(1), torch.ones(len(rows), dtype=y.dtype))  # the shares of all units


@pytest.mark.parametrize("anti", [False, True])
@pytest.mark.parametrize("name", [*LAYERS, "matmul", "matmul tokens"])
def test_centring_equals_the_rule_on_centred_patches(name, anti):
    """Each unfolded patch has its own mean taken off; the graph centres filters instead."""
    matmul = name.startswith("matmul")
    layer, shape, x = drawn({"matmul": "linear", "matmul tokens": "tokens"}.get(name, name), 4)
    graph, turn = exported(layer, shape, matmul)
    w = layer.weight.detach().double()
    rows = patches(torch.tensor(x, dtype=w.dtype) + 0.7, layer)  # bright
    rows = rows - rows.mean(1, keepdim=True)
    change, y = soft_hebbian(rows, w.flatten(1), 2.0, anti)
    rule = Rule(anti=anti, t_invert=2.0, centre=True)
    again = hebbian_change(layer, torch.tensor(x).double() + 0.7, w, rule)
    assert torch.allclose(again.flatten(1), change, rtol=1e-10, atol=1e-10)
    new, winner = graph(
        x + np.float32(0.7), turn(w.numpy()), None, 0.05, anti, t_invert=2.0, centre=True
    )
    want = turned(w.flatten(1).numpy(), change.numpy(), 0.05)
    assert np.abs(turn(new).reshape(want.shape) - want).max() < 3e-6
    assert winner == pytest.approx(float(y.max(1).values.mean()), rel=1e-5)
    plain, _ = graph(x + np.float32(0.7), turn(w.numpy()), None, 0.05, anti, t_invert=2.0)
    assert np.abs(plain - new).max() > 1e-3  # and it makes a difference
    dot, size = (w.flatten(1) * change).sum(1), w.flatten(1).norm(dim=1) * change.norm(dim=1)
    assert (dot.abs() <= 1e-12 * size).all()


@pytest.mark.parametrize("name", LAYERS)
def test_the_change_is_orthogonal_to_the_filter(name):
    layer, _, x = drawn(name, 3)
    w = layer.weight.detach().double()
    for anti in (False, True):
        change = hebbian_change(layer, torch.tensor(x).double(), w, Rule(anti=anti, t_invert=3.0))
        dot = (w * change).flatten(1).sum(1)
        size = w.flatten(1).norm(dim=1) * change.flatten(1).norm(dim=1)
        assert (dot.abs() <= 1e-12 * size).all()


@pytest.mark.parametrize("name", [*LAYERS, "matmul"])
def test_eta_zero_leaves_the_weight_bit_for_bit(name):
    layer, shape, x = drawn("linear" if name == "matmul" else name, 2)
    graph, turn = exported(layer, shape, name == "matmul")
    w = turn(layer.weight.detach().numpy())
    for anti, max_norm, centre in ((0, 0, 0), (1, 1, 0), (0, 1, 1)):
        new, _ = graph(x, w, 1.7 * w, 0.0, anti, max_norm, centre=centre)
        assert np.array_equal(new.view(np.int32), np.ascontiguousarray(w).view(np.int32))


@pytest.mark.parametrize("anti", [False, True])
def test_filters_keep_their_norms_over_many_steps(anti):
    layer, shape, _ = drawn("same", 1)
    graph, _ = exported(layer, shape)
    source = w = layer.weight.detach().numpy()
    generator = np.random.default_rng(5)
    for _ in range(200):
        w, _ = graph(generator.normal(size=(4, *shape)), w, source, 2e-2, anti, t_invert=4.0)
    norms, kept = (np.linalg.norm(v.reshape(8, -1), axis=1) for v in (source, w))
    assert np.allclose(kept, norms, rtol=1e-6)
    cosine = (source * w).reshape(8, -1).sum(1) / norms**2
    assert (cosine < 0.99).any()  # they did turn


def test_norms_settle_at_the_root_of_r_without_renormalization():
    """facts of the rule: with R = 0.49 and Σ y·u > 0 norms go to 0.7."""
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(3, 12, generator=generator, dtype=torch.float64).abs() * 0.3
    rows = torch.randn(256, 12, generator=generator, dtype=torch.float64).abs()
    for _ in range(4000):
        change, _ = soft_hebbian(rows, w, 1.0, target=torch.full((3,), 0.49, dtype=w.dtype))
        w = w + 0.02 * change / len(rows)
    assert torch.allclose(w.norm(dim=1), torch.full((3,), 0.7, dtype=w.dtype), atol=1e-3)


@pytest.mark.parametrize("scale", [1e3, 1e6, 1e15])
def test_large_activations_do_not_overflow(scale):
    layer, shape, x = drawn("same", 2)
    graph, _ = exported(layer, shape)
    w = layer.weight.detach().numpy()
    for anti in (0, 1):
        new, winner = graph(x * scale, w, eta=1e-2, anti=anti, t_invert=10.0)
        assert np.isfinite(new).all() and 0.99 < winner <= 1
        assert np.allclose(
            np.linalg.norm(new.reshape(8, -1), axis=1),
            np.linalg.norm(w.reshape(8, -1), axis=1),
            rtol=1e-5,
        )


def test_nothing_to_learn_from_nothing():
    layer, shape, x = drawn("same", 2)
    graph, _ = exported(layer, shape)
    w = layer.weight.detach().numpy()
    new, winner = graph(0 * x, w, eta=0.5)
    assert np.allclose(new, w, rtol=1e-6)
    assert winner == pytest.approx(1 / 8)  # every unit has its equal share


def test_ties_go_to_the_first_unit():
    w = np.zeros((3, 2), np.float32) + np.array([[1.0, 0.5]], np.float32)
    graph = Graph("Gemm", w, (2,), transB=1)
    (new, _) = graph(np.array([[1.0, -1.0]]), w, eta=0.1, anti=1)
    rows = np.array([[1.0, -1.0]])
    u, r = rows @ w.T, (w**2).sum(1)
    s = np.array([[1, -1, -1]]) / 3
    change = np.array(
        [(s[:, k, None] * (r[k] * rows - u[:, k, None] * w[k])).sum(0) for k in range(3)]
    )
    assert np.allclose(new, turned(w, change, 0.1), atol=1e-6)
