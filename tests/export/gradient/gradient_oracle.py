"""One node, its gradient graph in onnxruntime, and two oracles: torch and central differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from onnx.reference import ReferenceEvaluator

from tta.export.gradient import reverse
from tta.export.operators import Operators, dims
from tta.export.tape import Record

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class Case:
    """An operator at one setting.

    inputs: a shape is a wanted float input ("N" the symbolic batch), an array a constant.
    torch: the same function, float32; None checks against central differences only.
    draw: values of the wanted inputs; the default is standard normal.
    """

    op_type: str
    inputs: Sequence[Shape | np.ndarray | None]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    torch: Callable[..., Any] | None = None
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray] | None = None
    n_outputs: int = 1
    seeded: Sequence[int] = (0,)

    def __str__(self) -> str:
        shapes = ",".join(
            "x".join(map(str, i)) if isinstance(i, tuple) else "" if i is None else "const"
            for i in self.inputs
        )
        return f"{self.op_type}({shapes}{''.join(f' {k}={v}' for k, v in self.attributes.items())})"


def model(case: Case) -> tuple[ir.Model, Operators, Record]:
    """Outputs y0…, gradients g0… (of the wanted inputs), inputs x0… and dy0…."""
    op = Operators()
    values: list[ir.Value | None] = []
    for k, spec in enumerate(case.inputs):
        if spec is None:
            values.append(None)
        elif isinstance(spec, np.ndarray):
            values.append(op.weight(f"c{k}", ir.tensor(spec)))
        else:
            values.append(op.input(f"x{k}", np.float32, spec))
    outputs = op.node(case.op_type, values, case.attributes, case.n_outputs)
    record = Record(case.op_type, "under_test", values, outputs, case.attributes)
    seeds = {}
    for k in case.seeded:
        assert outputs[k].shape is not None, f"no shape inferred for {case}"
        seeds[outputs[k]] = op.input(f"dy{k}", np.float32, dims(outputs[k]))
    wanted = {k: v for k, v in enumerate(values) if isinstance(case.inputs[k], tuple)}
    found = reverse(op, [record], seeds, [v for v in wanted.values() if v is not None])
    results = {f"y{k}": outputs[k] for k in range(case.n_outputs)}
    results |= {f"g{k}": found[v] for k, v in wanted.items() if v in found}
    return op.model(results, "case"), op, record


def session(graph: ir.Model) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(
        ir.to_proto(graph).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def draw(case: Case, n: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    make = case.draw or (lambda r, s: r.standard_normal(s))
    return {
        f"x{k}": np.asarray(make(rng, tuple(n if d == "N" else int(d) for d in spec)), np.float32)
        for k, spec in enumerate(case.inputs)
        if isinstance(spec, tuple)
    }


def check(case: Case, batches: Sequence[int] = (1, 2, 5), seed: int = 0) -> None:
    """Build once, run at every batch size, compare with both oracles."""
    graph, _, _ = model(case)
    run = session(graph)
    names = [o.name for o in run.get_outputs()]
    rng = np.random.default_rng(seed + 1)
    for n in batches:
        feeds = draw(case, n, seed)
        shapes = {f"dy{k}": forward(case, feeds)[k].shape for k in case.seeded}
        dys = {name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items()}
        got = dict(zip(names, run.run(None, {**feeds, **dys})))
        for name, value in feeds.items():
            gradient = got.get("g" + name[1:])
            assert gradient is not None, f"{case}: no gradient of {name}"
            assert gradient.shape == value.shape, f"{case}: {gradient.shape} for {value.shape}"
        if case.torch is not None:
            against_torch(case, feeds, dys, got)
        else:
            against_differences(case, feeds, dys, got)


def forward(case: Case, feeds: Mapping[str, np.ndarray], double: bool = False) -> list[np.ndarray]:
    """The node's outputs by onnx's reference implementation or, if float32, by onnxruntime."""
    op = Operators()
    values: list[ir.Value | None] = []
    kind = np.float64 if double else np.float32
    for k, spec in enumerate(case.inputs):
        if spec is None:
            values.append(None)
        elif isinstance(spec, np.ndarray):
            wide = spec.astype(kind) if spec.dtype == np.float32 else spec
            values.append(op.weight(f"c{k}", ir.tensor(wide)))
        else:
            values.append(op.input(f"x{k}", kind, spec))
    outputs = op.node(case.op_type, values, case.attributes, case.n_outputs)
    graph = op.model({f"y{k}": v for k, v in enumerate(outputs)}, "forward")
    if double:
        for value in graph.graph.outputs:
            value.type = value.type or ir.TensorType(ir.DataType.DOUBLE)
        wide_feeds = {k: v.astype(kind) for k, v in feeds.items()}
        return [np.asarray(o) for o in ReferenceEvaluator(ir.to_proto(graph)).run(None, wide_feeds)]
    return list(session(graph).run(None, dict(feeds)))


def against_torch(
    case: Case,
    feeds: Mapping[str, np.ndarray],
    dys: Mapping[str, np.ndarray],
    got: Mapping[str, np.ndarray],
) -> None:
    assert case.torch is not None
    leaves = {k: torch.tensor(v, requires_grad=True) for k, v in feeds.items()}
    outputs = case.torch(*leaves.values())
    outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
    total = sum((outputs[int(k[2:])] * torch.tensor(dy)).sum() for k, dy in dys.items())
    expected = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    for k in case.seeded:
        np.testing.assert_allclose(
            got[f"y{k}"], outputs[k].detach().numpy(), rtol=1e-4, atol=1e-4, err_msg=f"{case} y"
        )
    for (name, leaf), reference in zip(leaves.items(), expected):
        wanted = np.zeros(leaf.shape) if reference is None else reference.numpy()
        # sums over many terms carry float32 noise in proportion to their largest result
        noise = 1e-5 * max(1.0, float(np.abs(wanted).max(initial=0)))
        np.testing.assert_allclose(
            got["g" + name[1:]], wanted, rtol=1e-4, atol=noise, err_msg=f"{case} {name}"
        )


def against_differences(
    case: Case,
    feeds: Mapping[str, np.ndarray],
    dys: Mapping[str, np.ndarray],
    got: Mapping[str, np.ndarray],
    eps: float = 1e-6,
) -> None:
    """Central differences of the float64 reference along three random directions."""
    rng = np.random.default_rng(7)
    wide = {k: v.astype(np.float64) for k, v in feeds.items()}

    def objective(at: Mapping[str, np.ndarray]) -> float:
        ys = forward(case, at, double=True)
        return float(sum((ys[int(k[2:])] * dy).sum() for k, dy in dys.items()))

    for name in feeds:
        for _ in range(3):
            way = rng.standard_normal(wide[name].shape)
            above = objective({**wide, name: wide[name] + eps * way})
            below = objective({**wide, name: wide[name] - eps * way})
            slope, claimed = (above - below) / (2 * eps), float((got["g" + name[1:]] * way).sum())
            scale = float(np.abs(got["g" + name[1:]] * way).sum()) + 1e-3
            assert abs(slope - claimed) <= 1e-4 * scale, f"{case} {name}: {claimed} for {slope}"
