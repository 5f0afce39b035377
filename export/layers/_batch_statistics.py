"""What all batch norms of a graph compute in one piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from tta.export.layers import Norm
from tta.export.operators import Operators, dims


class BatchStatistics:
    """Arithmetic on per-channel vectors done once a graph instead of once a layer.

    - ``(1-α)·(μ_s - m⁰)`` and ``(1-α)·σ²_s + ε`` of every layer: one Concat, the arithmetic, one Split;
    - the counts of values and ``-α/M`` by number of positions.

    Args:
        op: the graph under construction.
        norms: its batch norms.
        slot: gives the graph's value of a slot by name.
        alpha: share of batch statistics.
        samples: the input, whose first axis is the batch.
    """

    def __init__(
        self,
        op: Operators,
        norms: Sequence[Norm],
        slot: Callable[[str], ir.Value],
        alpha: ir.Value,
        samples: ir.Value,
    ) -> None:
        self._op, self._alpha = op, alpha
        self._counts: dict[int, ir.Value] = {}
        self._shares: dict[ir.Value, ir.Value] = {}
        sizes = [norm.slots["scale"].size for norm in norms]
        self._origins = np.concatenate([norm.slots["mean"] for norm in norms])
        epsilons = np.concatenate(
            [np.full(n, norm.attributes["epsilon"], np.float32) for norm, n in zip(norms, sizes)]
        )
        rest = op.Sub(1.0, alpha)
        means = op.Concat(*(slot(f"{n.name}.mean") for n in norms), axis=0)
        variances = op.Concat(*(slot(f"{n.name}.var") for n in norms), axis=0)
        self._sizes = np.array(sizes, np.int64)
        mean_parts = self._split(op.Mul(rest, op.Sub(means, self._origins)))
        var_parts = self._split(op.Add(op.Mul(rest, variances), epsilons))
        self._parts = {n.name: pair for n, *pair in zip(norms, mean_parts, var_parts)}
        self._batch = op.Cast(op.Gather(op.Shape(samples), 0), to=ir.DataType.FLOAT.value)

    def _split(self, values: ir.Value) -> Sequence[ir.Value]:
        attributes, sizes = {"axis": 0}, self._sizes
        return self._op.node("Split", [values, sizes], attributes, n_outputs=len(sizes))

    def part(self, norm: Norm) -> Sequence[ir.Value]:
        """``(1-α)·(μ_s - m⁰)`` and ``(1-α)·σ²_s + ε`` of a layer, ``(C,)`` each."""
        return self._parts[norm.name]

    def count(self, norm: Norm, x: ir.Value) -> ir.Value:
        """Values behind each channel of x: frames times positions, a scalar."""
        positions = dims(x)[2:]
        static = [d for d in positions if isinstance(d, int)]
        if len(static) < len(positions):  # positions known at run time only
            op = self._op
            size = op.Cast(op.Size(x), to=ir.DataType.FLOAT.value)
            return op.Div(size, np.float32(norm.slots["scale"].size))
        key = int(np.prod(static))
        if key not in self._counts:
            self._counts[key] = self._op.Mul(self._batch, np.float32(key))
        return self._counts[key]

    def share(self, count: ir.Value) -> ir.Value:
        """-α/M for M values a channel."""
        if count not in self._shares:
            self._shares[count] = self._op.Neg(self._op.Div(self._alpha, count))
        return self._shares[count]

    def true_means(self, shifted: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Batch means with the source means added back, in the order of the norms."""
        return self._split(self._op.Add(self._op.Concat(*shifted, axis=0), self._origins))
