"""Rules of axes on graphs written by hand: each tensor's static state is the numeric one."""

from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest

from tests.export.axes import numeric
from tta.errors import ExportError
from tta.export.axes import SIZES, rules
from tta.export.axes.shape import regroup
from tta.export.coupling import batch_coupled, labels
from tta.export.layers import Norm
from tta.export.operators import Operators

RNG = np.random.default_rng(7)
SHAPES = {"image": (4, 6, 6), "vector": (8,), "window": (4, 10), "tokens": (5, 8)}


def weight(*shape):
    return RNG.uniform(0.2, 1.0, shape).astype(np.float32)


def batch_norm(op, x, mean, var):
    return op.BatchNormalization(x, weight(4), weight(4), mean, var)


def eval_norm(op, x):
    return op.Relu(batch_norm(op, op.Conv(x, weight(4, 4, 3, 3)), weight(4), weight(4)))


def batch_statistics(op, x):
    y = op.Conv(x, weight(4, 4, 3, 3))
    mean = op.ReduceMean(y, [0, 2, 3], keepdims=1)
    centred = op.Sub(y, mean)
    var = op.ReduceMean(op.Mul(centred, centred), [0, 2, 3], keepdims=0)
    return op.Relu(batch_norm(op, y, op.Reshape(mean, [-1]), var))


def cancelled(op, x, kept=0.0):
    """A norm on x - m whose mean is lowered by m: the batch mean m cancels, unless a share is kept."""
    m = op.ReduceMean(x, [0, 2, 3], keepdims=0)
    z = op.Sub(x, op.Unsqueeze(m, [1, 2]))
    mean = op.Sub(op.Add(weight(4), op.Mul(m, kept)), m)
    return batch_norm(op, z, mean, weight(4))


def layer_norm(op, x):
    y, mean, _ = op.node("LayerNormalization", [x, weight(8), weight(8)], {}, n_outputs=3)
    return op.Add(op.MatMul(y, weight(8, 8)), mean)


def attention(op, x):
    split = [op.Transpose(op.Reshape(x, [0, 0, 2, 4]), perm=[0, 2, 1, 3]) for _ in range(3)]
    scores = op.Softmax(op.MatMul(split[0], op.Transpose(split[1], perm=[0, 1, 3, 2])), axis=-1)
    return op.Reshape(op.Transpose(op.MatMul(scores, split[2]), perm=[0, 2, 1, 3]), [0, 0, -1])


def group_norm(op, x):
    flat = op.InstanceNormalization(op.Reshape(x, [0, 2, -1]), weight(2), weight(2))
    return op.Reshape(flat, op.Shape(x))


def samples_as_groups(op, x):
    """(1, N·4, H, W): the batch rides on the channels of a norm that treats each by itself."""
    ridden = op.Reshape(x, [1, -1, 6, 6])
    size = op.Reshape(op.Size(op.ReduceMax(ridden, [2, 3], keepdims=0)), [1])
    one = op.Expand(np.ones(1, np.float32), size)
    return op.Reshape(op.InstanceNormalization(ridden, one, op.Sub(one, one)), [-1, 4, 6, 6])


def recurrent(kind, gates):
    def build(op, x):
        inputs = [op.Transpose(x, perm=[2, 0, 1]), weight(1, 3 * gates, 4), weight(1, 3 * gates, 3)]
        y, last = op.node(kind, inputs, {"hidden_size": 3}, n_outputs=2)
        return op.MatMul(op.Squeeze(last, [0]), weight(3, 2)), op.Squeeze(y, [1])

    return build


def where_batch(op, x):
    largest = op.ReduceMax(op.Abs(x), keepdims=0)
    return op.Where(op.Greater(largest, 1e9), x, op.Div(x, largest))


def count(op, x):
    return op.Mul(x, op.Cast(op.Size(x), to=1))


def channels_count(op, x):
    return op.Mul(x, op.Cast(op.Gather(op.Shape(x), 1), to=1))


BROADCAST = {
    "eval BatchNorm": ("image", eval_norm),
    "a batch mean that cancels": ("image", cancelled),
    "LayerNorm": ("tokens", layer_norm),
    "InstanceNorm": ("image", lambda op, x: op.InstanceNormalization(x, weight(4), weight(4))),
    "GroupNorm": ("image", group_norm),
    "samples on the channel axis": ("image", samples_as_groups),
    "attention": ("tokens", attention),
    "LRN": ("image", lambda op, x: op.LRN(x, size=3)),
    "LSTM": ("window", recurrent("LSTM", 4)),
    "GRU": ("window", recurrent("GRU", 3)),
    "RNN": ("window", recurrent("RNN", 1)),
    "Flatten and Gemm": ("image", lambda op, x: op.Gemm(op.Flatten(x), weight(144, 3), weight(3))),
    "N merged and split": (
        "tokens",
        lambda op, x: op.Reshape(op.MatMul(op.Reshape(x, [-1, 8]), weight(8, 4)), [-1, 5, 4]),
    ),
    "depthwise Conv": ("image", lambda op, x: op.Conv(x, weight(4, 1, 3, 3), group=4)),
    "ConvTranspose": (
        "image",
        lambda op, x: op.ConvTranspose(x, weight(4, 2, 3, 3), strides=[2, 2]),
    ),
    "AveragePool": ("image", lambda op, x: op.AveragePool(x, kernel_shape=[2, 2], strides=[2, 2])),
    "MaxPool": ("image", lambda op, x: op.MaxPool(x, kernel_shape=[2, 2])),
    "GlobalAveragePool": ("image", lambda op, x: op.GlobalAveragePool(x)),
    "Resize": ("image", lambda op, x: op.Resize(x, None, np.array([1, 1, 2, 2], np.float32))),
    "Pad": ("image", lambda op, x: op.Pad(x, [0, 0, 1, 1, 0, 0, 1, 1])),
    "Slice of positions": ("image", lambda op, x: op.Slice(x, [1], [5], [3], [2])),
    "Slice of all samples": (
        "image",
        lambda op, x: op.Slice(x, [0], [np.iinfo(np.int64).max], [0]),
    ),
    "Split": ("image", lambda op, x: op.node("Split", [x, [1, 3]], {"axis": 1}, n_outputs=2)),
    "Concat of channels": ("image", lambda op, x: op.Concat(x, op.Neg(x), axis=1)),
    "a token in front": (
        "tokens",
        lambda op, x: op.Concat(
            op.Expand(weight(1, 1, 8), op.Concat(op.Slice(op.Shape(x), [0], [1]), [1, 8], axis=0)),
            x,
            axis=1,
        ),
    ),
    "Gather of a token": ("tokens", lambda op, x: op.Gather(x, 0, axis=1)),
    "softmax of classes": ("vector", lambda op, x: op.LogSoftmax(x, axis=-1)),
    "sum of channels": ("image", lambda op, x: op.ReduceSum(x, [1], keepdims=0)),
    "norm of a vector": ("vector", lambda op, x: op.Div(x, op.ReduceL2(x, [-1], keepdims=1))),
    "CumSum in time": ("window", lambda op, x: op.CumSum(x, 2)),
    "TopK of classes": (
        "vector",
        lambda op, x: op.node("TopK", [x, [3]], {"axis": -1}, n_outputs=2),
    ),
    "winner": (
        "image",
        lambda op, x: op.OneHot(
            op.ArgMax(x, axis=1, keepdims=0), [4], np.array([0, 1], np.float32), axis=1
        ),
    ),
    "Einsum of positions": ("tokens", lambda op, x: op.Einsum(x, x, equation="ntc,nsc->nts")),
    "DepthToSpace": ("image", lambda op, x: op.DepthToSpace(x, blocksize=2)),
    "Tile of channels": ("image", lambda op, x: op.Tile(x, [1, 2, 1, 1])),
    "number of channels": ("image", channels_count),
    "ones by shape": ("vector", lambda op, x: op.Add(x, op.ConstantOfShape(op.Shape(x)))),
    "PRelu": ("image", lambda op, x: op.PRelu(x, weight(4, 1, 1))),
}
MIXED = {
    "batch-statistics BatchNorm": ("image", batch_statistics),
    "a batch mean of which a share is kept": ("image", lambda op, x: cancelled(op, x, 0.5)),
    "mean over the batch": ("vector", lambda op, x: op.Sub(x, op.ReduceMean(x, [0], keepdims=1))),
    "mean over everything": ("vector", lambda op, x: op.Sub(x, op.ReduceMean(x))),
    "softmax over the batch": ("vector", lambda op, x: op.Softmax(x, axis=0)),
    "running sum over the batch": ("vector", lambda op, x: op.CumSum(x, 0)),
    "Gram matrix of samples": ("vector", lambda op, x: op.MatMul(x, op.Transpose(x, perm=[1, 0]))),
    "Gram matrix of features": ("vector", lambda op, x: op.MatMul(op.Transpose(x, perm=[1, 0]), x)),
    "Gemm over samples": ("vector", lambda op, x: op.Gemm(x, x, transA=1)),
    "samples as channels": (
        "image",
        lambda op, x: op.Conv(
            op.Transpose(x, perm=[1, 0, 2, 3]), op.Transpose(x, perm=[1, 0, 2, 3])
        ),
    ),
    "outer difference": (
        "vector",
        lambda op, x: op.Sub(op.Unsqueeze(x, [0]), op.Unsqueeze(x, [1])),
    ),
    "samples reversed": ("vector", lambda op, x: op.Slice(x, [-1], [-1000], [0], [-1])),
    "one sample for all": ("vector", lambda op, x: op.Add(x, op.Gather(x, 0))),
    "a batch laid out as channels": (
        "vector",
        lambda op, x: op.Reshape(op.Transpose(x, perm=[1, 0]), [-1, 8]),
    ),
    "batch after itself": ("vector", lambda op, x: op.ReduceSum(op.Concat(x, x, axis=0), [0])),
    "number of samples": ("vector", count),
    "Einsum over samples": ("tokens", lambda op, x: op.Einsum(x, x, equation="ntc,ntd->cd")),
    "largest of the batch": ("vector", where_batch),
    "Pad of samples": ("vector", lambda op, x: op.ReduceMean(op.Pad(x, [1, 0, 0, 0]), [0])),
}


def built(kind, build):
    op = Operators()
    made = build(op, op.input("x", np.float32, ["N", *SHAPES[kind]]))
    outputs = made if isinstance(made, tuple | list) else [made]
    return op.model({f"y{k}": y for k, y in enumerate(outputs)}, "hand")


def checked(kind, build):
    """Labels of the graph, once all of its float tensors have been compared by numbers."""
    model = built(kind, build)
    found = labels(model)
    assert not found.unknown
    session = numeric.session(ir.serde.deserialize_model(ir.to_proto(model)))
    draws = []
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((numeric.BATCH, *SHAPES[kind]))
        whole = x.astype(np.float32)
        draws.append(({"x": whole}, {"x": whole[numeric.SAMPLE : numeric.SAMPLE + 1]}))
    different = numeric.differences(session, found.tensors, draws)
    numbers = {key: numeric.verdict(d, found[key]) for key, d in different.items()}
    assert numbers == {key: found[key].state for key in numbers}
    return found


@pytest.mark.parametrize("name", BROADCAST)
def test_samples_pass_by(name):
    found = checked(*BROADCAST[name])
    assert found["y0"].state == "broadcast"


@pytest.mark.parametrize("name", MIXED)
def test_samples_meet(name):
    found = checked(*MIXED[name])
    assert found["y0"].state == "mixed"
    assert found["y0"].cause


def test_axes_keep_their_names():
    found = labels(built("image", lambda op, x: op.Flatten(op.Conv(x, weight(7, 4, 3, 3)), axis=1)))
    assert found["x"].names() == ("N", "C", "H", "W")
    assert found["x"].shape == (SIZES[0], 4, 6, 6)
    assert found["y0"].names() == ("N", "C·H·W") and found["y0"].shape == (SIZES[0], 7 * 16)
    assert [part.size for part in found["y0"].axes[1]] == [7, 4, 4]


def test_an_unknown_operator_gets_the_careful_answer():
    """Det treats each matrix of a stack by itself, but there is no rule that says so."""
    found = labels(built("image", lambda op, x: op.Det(x)))
    assert found.unknown == ("Det",) and "Det" not in rules()
    assert found["y0"].state == "mixed"
    constant = labels(built("image", lambda op, x: op.Mul(x, op.Det(weight(3, 3)))))
    assert constant["y0"].state == "broadcast"


def test_a_known_input_decides():
    op = Operators()
    x, share = op.input("x", np.float32, ["N", 8]), op.input("share", np.float32, [])
    mean = op.ReduceMean(x, [0], keepdims=1)
    model = op.model({"y": op.Sub(x, op.Mul(share, mean))}, "hand")
    assert labels(model)["y"].state == "mixed"
    assert labels(model, {"share": 0.5})["y"].state == "mixed"
    assert labels(model, {"share": 0.0})["y"].state == "broadcast"
    with pytest.raises(ExportError, match="no input 'alpha' that could be known"):
        labels(model, {"alpha": 0.0})


def test_a_graph_without_batch_axis_is_refused():
    op = Operators()
    x = op.input("x", np.float32, [4, 8])
    with pytest.raises(ExportError, match="open batch axis"):
        labels(op.model({"y": op.Relu(x)}, "hand"))


def test_regrouping_never_splits_the_batch():
    x = labels(built("tokens", lambda op, x: op.Relu(x)))["x"]
    n = SIZES[0]
    axes, whole = regroup(x.axes, [n * 5, 8])
    assert whole and [[p.name for p in axis] for axis in axes] == [["N", "C"], ["T"]]
    assert regroup(x.axes, [n, 5, 2, 4])[1]
    assert not regroup(x.axes, [5, n, 8])[1]
    assert not regroup(x.axes, [5, 8, n])[1]


@pytest.mark.parametrize(
    ("shape", "values"),
    [(["N", 4], 1), (["N", 4, 10], 10), (["N", 4, 6, 5], 30), (["N", 4, "H", 5], -1)],
)
def test_values_that_one_frame_gives_a_batch_norm(shape, values):
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))
    slots = {role: weight(4) for role in ("scale", "bias", "mean", "var")}
    norm = Norm("batch_norm", "here", x, x, [], slots, {"epsilon": 1e-5})
    assert batch_coupled(SimpleNamespace(norms={None: norm})) == {"here": values}


def test_a_layer_of_single_samples_is_not_coupled():
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["N", 5, 8]))
    slots, options = {"scale": weight(8), "bias": weight(8)}, {"epsilon": 1e-5, "axis": -1}
    norm = Norm("layer_norm", "here", x, x, [], slots, options)
    assert batch_coupled(SimpleNamespace(norms={None: norm})) == {}
