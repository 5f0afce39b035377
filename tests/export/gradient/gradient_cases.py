"""The table: at least one case per operator that has a rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gradient_cases_windows import WINDOWS
from gradient_oracle import Case

X = ("N", 3, 4)
IMAGE = ("N", 4, 6, 5)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def f32(value: Any) -> np.ndarray:
    return np.array(value, np.float32)


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(0.5, 2.0, shape)


def nonzero(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(0.5, 2.0, shape) * rng.choice([-1.0, 1.0], shape)


def ties(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-2, 3, shape).astype(float)


def wide(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 4.0 * rng.standard_normal(shape)


def tenth(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, 0.105)


MASK = np.array([[True, False, True, False]])

ARITHMETIC = [
    Case("Add", [X, (4,)], torch=torch.add),
    Case("Add", [X, ()], torch=torch.add),
    Case("Add", [("N", 1, 4), (3, 1)], torch=torch.add),
    Case("Sub", [X, (3, 1)], torch=torch.sub),
    Case("Sub", [(3, 1), X], torch=torch.sub),
    Case("Mul", [X, (1, 3, 1)], torch=torch.mul),
    Case("Mul", [X, X], torch=torch.mul),
    Case("Mul", [("N", 1, 1), X], torch=torch.mul),
    Case("Div", [X, (4,)], torch=torch.div, draw=nonzero),
    Case("Div", [f32(2.0), X], torch=lambda b: 2.0 / b, draw=nonzero),
    Case("Pow", [X, f32(2.0)], torch=lambda a: a**2),
    Case("Pow", [X, f32(3.0)], torch=lambda a: a**3),
    Case("Pow", [X, f32(0.5)], torch=lambda a: a**0.5, draw=positive),
    Case("Pow", [X, f32(-0.5)], torch=lambda a: a**-0.5, draw=positive),
    Case("Pow", [X, np.array(1, np.int64)], torch=lambda a: a * 1.0),
    Case("Pow", [X, f32([2.0, 3.0, 0.5, 1.0])], draw=positive),
    Case("Pow", [X, (4,)], torch=torch.pow, draw=positive),
    Case("Sqrt", [X], torch=torch.sqrt, draw=positive),
    Case("Reciprocal", [X], torch=torch.reciprocal, draw=nonzero),
    Case("Exp", [X], torch=torch.exp),
    Case("Log", [X], torch=torch.log, draw=positive),
    Case("Abs", [X], torch=torch.abs, draw=ties),
    Case("Neg", [X], torch=torch.neg),
    Case("Min", [X, (3, 1)], torch=torch.minimum, draw=ties),
    Case("Max", [X, (3, 1)], torch=torch.maximum, draw=ties),
    Case("Max", [X], torch=lambda a: a * 1.0),
    Case("Max", [X, f32(0.25), (4,)], torch=lambda a, b: a.maximum(b).clamp(min=0.25)),
    Case("Min", [X, (4,), (3, 1)], torch=lambda a, b, c: a.minimum(b).minimum(c)),
    Case("Sum", [X, (4,), (1, 3, 1)], torch=lambda a, b, c: a + b + c),
    Case("Where", [MASK, X, (3, 1)], torch=lambda a, b: torch.where(torch.tensor(MASK), a, b)),
    Case("Erf", [X], torch=torch.erf),
    Case("Sin", [X], torch=torch.sin),
    Case("Cos", [X], torch=torch.cos),
    Case("Identity", [X], torch=lambda a: a * 1.0),
    Case("Range", [(), f32(1.0), ()], torch=lambda a, d: a + d * torch.arange(9), draw=tenth),
    Case(
        "OneHot",
        [i64(0, 2), i64(3), (2,)],
        {"axis": 0},
        torch=lambda v: v[F.one_hot(torch.tensor([0, 2]), 3).T],
    ),
    Case("Cast", [X], {"to": 1}, torch=lambda a: a * 1.0),
    Case("CastLike", [X, f32(1.0)], torch=lambda a: a * 1.0),
]

ACTIVATION = [
    Case("Relu", [X], torch=torch.relu, draw=ties),
    Case("Clip", [X, f32(0.0), f32(1.0)], torch=lambda a: F.hardtanh(a, 0.0, 1.0)),
    Case("Clip", [X, f32(0.0), f32(6.0)], torch=F.relu6, draw=wide),
    Case("Clip", [X, f32(-0.5)], torch=lambda a: a.clamp(min=-0.5)),
    Case("Clip", [X, None, f32(0.5)], torch=lambda a: a.clamp(max=0.5)),
    Case("Clip", [X], torch=lambda a: a * 1.0),
    Case("LeakyRelu", [X], {"alpha": 0.1}, torch=lambda a: F.leaky_relu(a, 0.1), draw=ties),
    Case("LeakyRelu", [X], {"alpha": 1.5}, torch=lambda a: F.leaky_relu(a, 1.5), draw=ties),
    Case("PRelu", [X, (3, 1)], torch=lambda a, s: torch.where(a > 0, a, s * a)),
    Case("PRelu", [X, ()], torch=lambda a, s: torch.where(a > 0, a, s * a), draw=ties),
    Case("Elu", [X], torch=F.elu),
    Case("Elu", [X], {"alpha": 0.5}, torch=lambda a: F.elu(a, 0.5)),
    Case("Selu", [X], torch=F.selu),
    Case("Celu", [X], {"alpha": 0.5}, torch=lambda a: F.celu(a, 0.5)),
    Case("Sigmoid", [X], torch=torch.sigmoid),
    Case(
        "HardSigmoid", [X], {"alpha": 0.3}, torch=lambda a: (0.3 * a + 0.5).clamp(0, 1), draw=wide
    ),
    Case("HardSwish", [X], torch=F.hardswish, draw=wide),
    Case("Tanh", [X], torch=torch.tanh),
    Case("Softplus", [X], torch=F.softplus),
    Case("Softsign", [X], torch=F.softsign),
    Case("Mish", [X], torch=F.mish),
    Case("ThresholdedRelu", [X], {"alpha": 0.5}, torch=lambda a: F.threshold(a, 0.5, 0.0)),
    Case("ThresholdedRelu", [X], {"alpha": -0.5}, torch=lambda a: F.threshold(a, -0.5, 0.0)),
    Case("Softmax", [X], torch=lambda a: a.softmax(-1)),
    Case("Softmax", [X], {"axis": 1}, torch=lambda a: a.softmax(1)),
    Case("LogSoftmax", [X], {"axis": -2}, torch=lambda a: a.log_softmax(-2)),
    Case("LogSoftmax", [("N", 7)], torch=lambda a: a.log_softmax(1)),
]

MATMUL = [
    Case("MatMul", [("N", 4), (4, 3)], torch=torch.matmul),
    Case("MatMul", [X, (4, 5)], torch=torch.matmul),
    Case("MatMul", [(5, 3), X], torch=torch.matmul),
    Case("MatMul", [("N", 2, 3, 4), ("N", 2, 4, 5)], torch=torch.matmul),
    Case("MatMul", [("N", 2, 3, 4), (2, 4, 5)], torch=torch.matmul),
    Case("MatMul", [("N", 1, 3, 4), (2, 4, 1)], torch=torch.matmul),
    Case("MatMul", [X, (4,)], torch=torch.matmul),
    Case("MatMul", [(3,), X], torch=torch.matmul),
    Case("MatMul", [(3,), (3,)], torch=torch.matmul),
    Case("Gemm", [("N", 4), (4, 3), (3,)], torch=lambda a, b, c: a @ b + c),
    Case(
        "Gemm",
        [("N", 4), (3, 4), ()],
        {"transB": 1, "alpha": 0.5},
        torch=lambda a, b, c: 0.5 * a @ b.T + c,
    ),
    Case("Gemm", [(4, "N"), (4, 3)], {"transA": 1}, torch=lambda a, b: a.T @ b),
    Case(
        "Gemm",
        [(4, "N"), (3, 4), ("N", 1)],
        {"transA": 1, "transB": 1, "beta": 2.0},
        torch=lambda a, b, c: a.T @ b.T + 2.0 * c,
    ),
    Case(
        "Einsum",
        [("N", 3, 4), ("N", 5, 4)],
        {"equation": "nqd,nkd->nqk"},
        torch=lambda a, b: torch.einsum("nqd,nkd->nqk", a, b),
    ),
    Case("Einsum", [X], {"equation": "nij->ni"}, torch=lambda a: a.sum(-1)),
]

REDUCTION = [
    Case("ReduceSum", [X, i64(1)], torch=lambda a: a.sum(1, keepdim=True)),
    Case("ReduceSum", [X, i64(0, -1)], {"keepdims": 0}, torch=lambda a: a.sum((0, 2))),
    Case("ReduceSum", [X], torch=lambda a: a.sum((0, 1, 2), keepdim=True)),
    Case("ReduceSum", [X], {"noop_with_empty_axes": 1}, torch=lambda a: a * 1.0),
    Case("ReduceMean", [IMAGE, i64(2, 3)], torch=lambda a: a.mean((2, 3), keepdim=True)),
    Case("ReduceMean", [X, i64(0)], {"keepdims": 0}, torch=lambda a: a.mean(0)),
    Case("ReduceMean", [X], {"keepdims": 0}, torch=lambda a: a.mean()),
    Case("ReduceMax", [X, i64(-1)], torch=lambda a: a.amax(-1, keepdim=True), draw=ties),
    Case("ReduceMin", [X, i64(1, 2)], {"keepdims": 0}, torch=lambda a: a.amin((1, 2)), draw=ties),
    Case("ReduceL1", [X, i64(1)], torch=lambda a: a.abs().sum(1, keepdim=True)),
    Case("ReduceL2", [X, i64(1)], {"keepdims": 0}, torch=lambda a: a.norm(dim=1)),
    Case("ReduceSumSquare", [X, i64(1)], torch=lambda a: (a * a).sum(1, keepdim=True)),
    Case("ReduceLogSum", [X, i64(1)], torch=lambda a: a.sum(1, keepdim=True).log(), draw=positive),
    Case("ReduceLogSumExp", [X, i64(2)], {"keepdims": 0}, torch=lambda a: a.logsumexp(2)),
    Case("ReduceProd", [X, i64(2)], {"keepdims": 0}, torch=lambda a: a.prod(2), draw=nonzero),
    Case("GlobalAveragePool", [IMAGE], torch=lambda a: a.mean((2, 3), keepdim=True)),
    Case("GlobalMaxPool", [IMAGE], torch=lambda a: a.amax((2, 3), keepdim=True)),
]

SHAPE = [
    Case("Reshape", [X, i64(0, 12)], torch=lambda a: a.reshape(len(a), 12)),
    Case("Reshape", [X, i64(-1)], torch=lambda a: a.reshape(-1)),
    Case("Transpose", [X], {"perm": (2, 0, 1)}, torch=lambda a: a.permute(2, 0, 1)),
    Case("Transpose", [X], torch=lambda a: a.permute(2, 1, 0)),
    Case("Squeeze", [("N", 1, 3, 1), i64(1, -1)], torch=lambda a: a[:, 0, :, 0]),
    Case("Unsqueeze", [X, i64(0, -1)], torch=lambda a: a[None, ..., None]),
    Case("Flatten", [IMAGE], torch=lambda a: a.flatten(1)),
    Case("Flatten", [X], {"axis": 2}, torch=lambda a: a.reshape(-1, 4)),
    Case("Expand", [(3, 1), i64(2, 3, 4)], torch=lambda a: a.expand(2, 3, 4)),
    Case("Expand", [("N", 3, 1), i64(1, 1, 4)], torch=lambda a: a.expand(-1, 3, 4)),
    Case("Concat", [X, ("N", 2, 4)], {"axis": 1}, torch=lambda *a: torch.cat(a, 1)),
    Case("Concat", [X, (2, 3, 4)], {"axis": 0}, torch=lambda *a: torch.cat(a, 0)),
    Case(
        "Split",
        [X, i64(1, 2)],
        {"axis": 1},
        torch=lambda a: a.split([1, 2], 1),
        n_outputs=2,
        seeded=(0, 1),
    ),
    Case(
        "Split",
        [X],
        {"axis": -1, "num_outputs": 2},
        torch=lambda a: a.split(2, -1),
        n_outputs=2,
        seeded=(1,),
    ),
    Case("Slice", [X, i64(1), i64(3), i64(2)], torch=lambda a: a[..., 1:3]),
    Case("Slice", [X, i64(-3, 0), i64(2**62, -1), i64(2, 1)], torch=lambda a: a[:, :-1, -3:]),
    Case(
        "Slice",
        [IMAGE, i64(1, 0), i64(6, 5), i64(2, 3), i64(2, 3)],
        torch=lambda a: a[:, :, 1:6:2, ::3],
    ),
    Case("Slice", [X, i64(-1), i64(-(2**31)), i64(2), i64(-1)], torch=lambda a: a.flip(2)),
    Case("Slice", [X, i64(3), i64(0), i64(2), i64(-2)], torch=lambda a: a[..., [3, 1]]),
    Case("Gather", [X, np.array(1, np.int64)], {"axis": 1}, torch=lambda a: a[:, 1]),
    Case("Gather", [X, i64(2, 0)], {"axis": -1}, torch=lambda a: a[..., [2, 0]]),
    Case("Gather", [X, i64(2, 2, -1)], {"axis": 1}, torch=lambda a: a[:, [2, 2, -1]]),
    Case(
        "Gather",
        [(5, 3), np.array([[0, 4], [4, 1]])],
        torch=lambda a: a[torch.tensor([[0, 4], [4, 1]])],
    ),
    Case(
        "Gather",
        [X, np.array([[0, 2], [2, 1]])],
        {"axis": 2},
        torch=lambda a: a[..., torch.tensor([[0, 2], [2, 1]])],
    ),
    Case(
        "GatherElements",
        [(2, 3), np.array([[0, 0], [2, 1]])],
        {"axis": 1},
        torch=lambda a: a.gather(1, torch.tensor([[0, 0], [2, 1]])),
    ),
    Case("Tile", [X, i64(1, 2, 3)], torch=lambda a: a.repeat(1, 2, 3)),
    Case("Tile", [X, i64(2, 1, 1)], torch=lambda a: a.repeat(2, 1, 1)),
    Case(
        "DepthToSpace",
        [("N", 8, 2, 3)],
        {"blocksize": 2, "mode": "CRD"},
        torch=lambda a: F.pixel_shuffle(a, 2),
    ),
    Case("DepthToSpace", [("N", 8, 2, 3)], {"blocksize": 2}),
    Case("SpaceToDepth", [("N", 2, 4, 6)], {"blocksize": 2}),
    Case("CumSum", [X, np.array(1)], torch=lambda a: a.cumsum(1)),
    Case(
        "CumSum",
        [X, np.array(2)],
        {"reverse": 1, "exclusive": 1},
        torch=lambda a: a.flip(2).cumsum(2).flip(2) - a,
    ),
    Case("Trilu", [X, np.array(1)], {"upper": 0}, torch=lambda a: a.tril(1)),
    Case("Dropout", [X], torch=lambda a: a * 1.0),
]

CASES = [*ARITHMETIC, *ACTIVATION, *MATMUL, *REDUCTION, *SHAPE, *WINDOWS]

FLAT_CASES = [
    *(Case(name, [MASK, MASK]) for name in ("And", "Or", "Xor")),
    Case("Not", [MASK]),
    Case("ConstantOfShape", [i64(2, 3)]),
    Case("Constant", [], {"value_float": 1.0}),
    Case("EyeLike", [(3, 3)]),
    *(Case(name, [X]) for name in ("Floor", "Ceil", "Round", "Sign", "IsNaN", "IsInf")),
    *(Case(name, [X, X]) for name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    *(Case(name, [X]) for name in ("Shape", "Size", "ArgMax", "ArgMin", "NonZero")),
]
