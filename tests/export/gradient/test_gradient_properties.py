"""Rules at drawn shapes, groups, strides, dilations, pads and broadcasts, against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gradient_oracle import Case, check
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

torch.set_num_threads(1)
bounded = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_T = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
small = st.integers(1, 3)


def draws(draw: Any, n: int, strategy: Any) -> list[int]:
    return [draw(strategy) for _ in range(n)]


def torch_pad(pads: list[int]) -> list[int]:
    n = len(pads) // 2
    return [w for k in range(n - 1, -1, -1) for w in (pads[k], pads[k + n])]


@st.composite
def convolutions(draw: Any) -> Case:
    n = draw(st.sampled_from([1, 2, 2, 2, 3]))
    group, per, out = draw(small), draw(small), draw(small)
    kernel, strides = draws(draw, n, small), draws(draw, n, small)
    dilations = draws(draw, n, st.integers(1, 2))
    pads = draws(draw, 2 * n, st.integers(0, 3))
    spatial = [d * (k - 1) + 1 + draw(st.integers(0, 5)) for d, k in zip(dilations, kernel)]

    def reference(x: torch.Tensor, w: torch.Tensor, *b: torch.Tensor) -> torch.Tensor:
        padded = F.pad(x, torch_pad(pads))
        bias = b[0] if b else None
        return CONV[n](padded, w, bias, strides, 0, dilations, group)

    inputs: list[Any] = [
        ("N", group * per, *spatial),
        (group * out, per, *kernel),
    ]
    if draw(st.booleans()):
        inputs.append((group * out,))
    attributes = {
        "strides": tuple(strides),
        "pads": tuple(pads),
        "dilations": tuple(dilations),
        "group": group,
    }
    if draw(st.booleans()):  # a frozen kernel: onnxruntime folds its flip
        frozen = np.random.default_rng(1).standard_normal(inputs[1]).astype(np.float32)
        inputs[1] = frozen
        return Case(
            "Conv", inputs, attributes, torch=lambda x, *b: reference(x, torch.tensor(frozen), *b)
        )
    return Case("Conv", inputs, attributes, torch=reference)


@st.composite
def transposed(draw: Any) -> Case:
    n = draw(st.sampled_from([1, 2, 2]))
    group, per, out = draw(small), draw(small), draw(small)
    kernel, strides = draws(draw, n, small), draws(draw, n, small)
    dilations = draws(draw, n, st.integers(1, 2))
    pads = [draw(st.integers(0, d * (k - 1))) for d, k in zip(dilations, kernel)]
    extra = [draw(st.integers(0, s - 1)) for s in strides]
    spatial = draws(draw, n, st.integers(3, 6))
    assume(
        all(
            s * (i - 1) + d * (k - 1) + 1 + e - 2 * p > 0
            for i, s, d, k, e, p in zip(spatial, strides, dilations, kernel, extra, pads)
        )
    )

    def reference(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return CONV_T[n](x, w, None, strides, pads, extra, group, dilations)

    attributes = {
        "strides": tuple(strides),
        "pads": tuple(pads * 2),
        "dilations": tuple(dilations),
        "output_padding": tuple(extra),
        "group": group,
    }
    inputs = [("N", group * per, *spatial), (group * per, out, *kernel)]
    return Case("ConvTranspose", inputs, attributes, torch=reference)


@st.composite
def pools(draw: Any) -> Case:
    n = draw(st.sampled_from([1, 2, 2]))
    kernel, strides = draws(draw, n, small), draws(draw, n, small)
    pads = [draw(st.integers(0, k // 2)) for k in kernel]
    spatial = draws(draw, n, st.integers(3, 7))
    attributes: dict[str, Any] = {
        "kernel_shape": tuple(kernel),
        "strides": tuple(strides),
        "pads": tuple(pads * 2),
    }
    x = ("N", 2, *spatial)
    if draw(st.booleans()):
        pool = {1: F.max_pool1d, 2: F.max_pool2d}[n]
        return Case("MaxPool", [x], attributes, torch=lambda a: pool(a, kernel, strides, pads))
    counted = draw(st.booleans())
    attributes["count_include_pad"] = int(counted)
    mean = {1: F.avg_pool1d, 2: F.avg_pool2d}[n]
    return Case(
        "AveragePool",
        [x],
        attributes,
        torch=lambda a: mean(a, kernel, strides, pads, False, counted),
    )


@st.composite
def broadcasts(draw: Any) -> Case:
    op_type = draw(st.sampled_from(["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"]))
    full = ["N", *draws(draw, draw(st.integers(0, 3)), small)]

    def operand() -> tuple[int | str, ...]:
        kept = full[draw(st.integers(0, len(full))) :]
        return tuple(1 if draw(st.integers(0, 3)) == 0 else d for d in kept)

    a, b = operand(), operand()
    function = {"Max": torch.maximum, "Min": torch.minimum}.get(op_type)
    return Case(
        op_type,
        [a, b],
        torch=function or getattr(torch, op_type.lower()),
        draw=lambda r, s: r.uniform(0.5, 2.0, s),
    )


@st.composite
def products(draw: Any) -> Case:
    m, k, n = draws(draw, 3, st.integers(1, 4))
    batch = ["N", *draws(draw, draw(st.integers(0, 2)), small)]

    def axes() -> list[int | str]:
        kept = batch[draw(st.integers(0, len(batch))) :]
        return [1 if draw(st.integers(0, 3)) == 0 else d for d in kept]

    left = draw(st.sampled_from(["vector", "matrix", "matrix"]))
    right = draw(st.sampled_from(["vector", "matrix", "matrix"]))
    a = (k,) if left == "vector" else (*axes(), m, k)
    b = (k,) if right == "vector" else (*axes(), k, n)
    return Case("MatMul", [a, b], torch=torch.matmul)


@st.composite
def reductions(draw: Any) -> Case:
    shape = ["N", *draws(draw, draw(st.integers(1, 3)), small)]
    axes = draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1))
    keep = draw(st.booleans())
    functions = {
        "ReduceSum": lambda a: a.sum(axes, keepdim=keep),
        "ReduceMean": lambda a: a.mean(axes, keepdim=keep),
        "ReduceMax": lambda a: a.amax(axes, keepdim=keep),
        "ReduceLogSumExp": lambda a: a.logsumexp(axes, keepdim=keep),
        "ReduceSumSquare": lambda a: (a * a).sum(axes, keepdim=keep),
    }
    op_type = draw(st.sampled_from(sorted(functions)))
    signed = [a - len(shape) if draw(st.booleans()) else a for a in axes]
    inputs = [tuple(shape), np.array(signed, np.int64)]
    return Case(op_type, inputs, {"keepdims": int(keep)}, torch=functions[op_type])


@st.composite
def slices(draw: Any) -> Case:
    shape = draws(draw, draw(st.integers(1, 3)), st.integers(2, 6))
    index: list[slice] = []
    for length in shape:
        step = draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
        low, high = sorted(draws(draw, 2, st.integers(-length, length)), key=lambda v: v % length)
        index.append(slice(low, high, step) if step > 0 else slice(high, low, step))
    y = np.zeros(shape)[tuple(index)]
    assume(y.size > 0)
    inputs: list[Any] = [("N", *shape)]
    for part in ("start", "stop"):
        inputs.append(np.array([getattr(s, part) for s in index], np.int64))
    inputs.append(np.arange(1, len(shape) + 1))
    inputs.append(np.array([s.step for s in index], np.int64))

    def reference(x: torch.Tensor) -> torch.Tensor:
        for k, (length, s) in enumerate(zip(shape, index)):
            x = x.index_select(k + 1, torch.tensor(np.arange(length)[s].copy()))
        return x

    return Case("Slice", inputs, torch=reference)


@given(convolutions(), st.integers(0, 9))
@settings(bounded, max_examples=250)
def test_convolution(case: Case, seed: int) -> None:
    check(case, seed=seed)


@given(transposed())
@bounded
def test_transposed_convolution(case: Case) -> None:
    check(case)


@given(pools(), st.integers(0, 9))
@settings(bounded, max_examples=120)
def test_pooling(case: Case, seed: int) -> None:
    check(case, seed=seed)


@given(broadcasts())
@settings(bounded, max_examples=120)
def test_broadcasting(case: Case) -> None:
    check(case)


@given(products())
@settings(bounded, max_examples=120)
def test_matrix_product(case: Case) -> None:
    check(case)


@given(reductions())
@settings(bounded, max_examples=120)
def test_reduction(case: Case) -> None:
    check(case)


@given(slices())
@settings(bounded, max_examples=120)
def test_slice(case: Case) -> None:
    check(case)
