"""The walk itself: fan-out, inactive inputs, missing rules, rules composed into a network."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from gradient_oracle import session

from tta.errors import NoGradientError
from tta.export.gradient import blocked, reverse
from tta.export.operators import Operators, dims
from tta.export.tape import Record


class Taped(Operators):
    """Records every node that is appended while ``tape`` is a list."""

    tape: list[Record] | None = None

    def node(self, op_type, inputs, attributes=None, n_outputs=1, domain=""):  # type: ignore[no-untyped-def]
        outputs = super().node(op_type, inputs, attributes, n_outputs, domain)
        if self.tape is not None:
            values = self.nodes[-1].inputs
            name = f"{op_type}_{len(self.tape)}"
            self.tape.append(Record(op_type, name, values, outputs, attributes or {}))
        return outputs


def taped() -> tuple[Taped, list[Record]]:
    op = Taped()
    op.tape = []
    return op, op.tape


def gradients(op: Taped, y: ir.Value, wanted: dict[str, ir.Value]) -> ir.Model:
    tape, op.tape = op.tape or [], None
    found = reverse(op, tape, {y: op.input("dy", np.float32, dims(y))}, wanted.values())
    return op.model({"y": y, **{f"d{k}": found[v] for k, v in wanted.items()}}, "test")


def test_fan_out_is_summed() -> None:
    op, _ = taped()
    x = op.input("x", np.float32, ["N", 3])
    y = op.Add(op.Mul(x, op.Sigmoid(x)), op.Add(op.Exp(x), x))
    run = session(gradients(op, y, {"x": x}))
    for n in (1, 2, 5):
        at = np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32)
        leaf = torch.tensor(at, requires_grad=True)
        (leaf * leaf.sigmoid() + leaf.exp() + leaf).sum().backward()
        _, dx = run.run(None, {"x": at, "dy": np.ones_like(at)})
        assert leaf.grad is not None
        np.testing.assert_allclose(dx, leaf.grad.numpy(), rtol=1e-5)


def test_inactive_inputs_cost_nothing() -> None:
    op, tape = taped()
    x = op.input("x", np.float32, ["N", 4, 8, 8])
    w = op.input("w", np.float32, [4, 4, 3, 3])
    s = op.input("s", np.float32, [4, 1, 1])
    y = op.Mul(op.Conv(op.Exp(x), w, pads=[1, 1, 1, 1]), s)
    op.tape = None
    forward = len(op.nodes)
    reverse(op, tape, {y: op.input("dy", np.float32, dims(y))}, [s])
    assert [n.op_type for n in op.nodes[forward:]] == ["Mul", "ReduceSum", "Squeeze"]


def test_values_without_a_path_are_absent() -> None:
    op, tape = taped()
    x = op.input("x", np.float32, ["N", 4])
    z = op.input("z", np.float32, ["N", 4])
    y, _ = op.Exp(x), op.Log(z)
    assert list(reverse(op, tape, {y: op.input("dy", np.float32, dims(y))}, [x, z])) == [x]


def test_seeds_at_inner_values_add_up() -> None:
    op, tape = taped()
    x = op.input("x", np.float32, [2])
    y = op.Mul(x, 3.0)
    z = op.Mul(y, 5.0)
    op.tape = None
    one = op.constant(np.ones(2, np.float32))
    found = reverse(op, tape, {y: one, z: one}, [x])
    dx = session(op.model({"dx": found[x]}, "test")).run(None, {"x": [1.0, 2.0]})[0]
    np.testing.assert_array_equal(dx, [18.0, 18.0])


def test_missing_rule_names_node_and_operator() -> None:
    op, tape = taped()
    x = op.input("x", np.float32, ["N", 4])
    y = op.Hardmax(op.Exp(x))
    seed = op.input("dy", np.float32, dims(y))
    with pytest.raises(NoGradientError, match=r"Hardmax.*'Hardmax_1'"):
        reverse(op, tape, {y: seed}, [x])
    stuck, tainted = blocked(tape, [y])
    assert [r.op_type for r in stuck] == ["Hardmax"]
    assert x in tainted


def test_missing_rule_off_the_path_is_no_matter() -> None:
    op, tape = taped()
    x = op.input("x", np.float32, ["N", 4])
    s = op.input("s", np.float32, [4])
    y = op.Mul(op.Hardmax(x), s)
    assert s in reverse(op, tape, {y: op.input("dy", np.float32, dims(y))}, [s])


def test_strided_convolution_of_unknown_size_says_what_to_do() -> None:
    op, tape = taped()
    x = op.input("x", np.float32, ["N", 4, "H", "W"])
    y = op.Conv(x, np.zeros((4, 4, 3, 3), np.float32), strides=[2, 2])
    seed = op.input("dy", np.float32, dims(y))
    with pytest.raises(NoGradientError, match=r"Conv.*fix the input size"):
        reverse(op, tape, {y: seed}, [x])


@pytest.mark.parametrize("size", [8, 11])
def test_open_positions_work_at_stride_one(size: int) -> None:
    op, _ = taped()
    x = op.input("x", np.float32, ["N", 4, "H", "W"])
    w = op.input("w", np.float32, [6, 2, 3, 3])
    y = op.ReduceMean(op.Relu(op.Conv(x, w, pads=[1, 1, 1, 1], group=2)), [2, 3], keepdims=0)
    run = session(gradients(op, y, {"x": x, "w": w}))
    rng = np.random.default_rng(0)
    for n in (1, 3):
        at = rng.standard_normal((n, 4, size, size + 2)).astype(np.float32)
        kernel = rng.standard_normal((6, 2, 3, 3)).astype(np.float32)
        a, b = torch.tensor(at, requires_grad=True), torch.tensor(kernel, requires_grad=True)
        F.conv2d(a, b, padding=1, groups=2).relu().mean((2, 3)).sum().backward()
        _, dx, dw = run.run(None, {"x": at, "w": kernel, "dy": np.ones((n, 6), np.float32)})
        assert a.grad is not None and b.grad is not None
        np.testing.assert_allclose(dx, a.grad.numpy(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(dw, b.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_a_network_agrees_with_torch() -> None:
    """Convolution, affine, ReLU6, residual, pooling, linear, softmax, entropy in one."""
    rng = np.random.default_rng(3)
    arrays = {
        "w": rng.standard_normal((8, 3, 3, 3)),
        "v": rng.standard_normal((8, 1, 3, 3)),
        "s": rng.uniform(0.5, 1.5, (8, 1, 1)),
        "b": rng.standard_normal((8, 1, 1)),
        "f": rng.standard_normal((8, 5)),
    }
    arrays = {k: v.astype(np.float32) for k, v in arrays.items()}
    op, _ = taped()
    x = op.input("x", np.float32, ["N", 3, 9, 9])
    p = {k: op.input(k, np.float32, v.shape) for k, v in arrays.items()}
    h = op.Conv(x, p["w"], strides=[2, 2], pads=[1, 1, 1, 1])
    h = op.Clip(op.Add(op.Mul(h, p["s"]), p["b"]), 0.0, 6.0)
    h = op.Add(h, op.Relu(op.Conv(h, p["v"], pads=[1, 1, 1, 1], group=8)))
    z = op.MatMul(op.Flatten(op.GlobalAveragePool(h)), p["f"])
    y = op.ReduceSum(op.Neg(op.Mul(op.Softmax(z), op.LogSoftmax(z))), [1], keepdims=0)
    run = session(gradients(op, y, p))
    for n in (1, 2, 5):
        image = rng.standard_normal((n, 3, 9, 9)).astype(np.float32)
        t = {k: torch.tensor(v, requires_grad=True) for k, v in arrays.items()}
        u = F.conv2d(torch.tensor(image), t["w"], stride=2, padding=1)
        u = F.relu6(u * t["s"] + t["b"])
        u = u + F.conv2d(u, t["v"], padding=1, groups=8).relu()
        logits = u.mean((2, 3)) @ t["f"]
        entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
        entropy.sum().backward()
        got = run.run(None, {"x": image, "dy": np.ones(n, np.float32), **arrays})
        np.testing.assert_allclose(got[0], entropy.detach().numpy(), rtol=1e-4, atol=1e-5)
        for name, gradient in zip(arrays, got[1:]):
            wanted = t[name].grad
            assert wanted is not None
            error = np.linalg.norm(gradient - wanted.numpy())
            assert error <= 1e-4 * np.linalg.norm(wanted.numpy()), name
