"""What all batch norms of a graph compute in one piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from tta.export.layers import Norm
from tta.export.operators import Operators, dims

TINY = np.float32(1e-12)


class Backward(NamedTuple):
    """A layer's vectors ``(C,)`` on the way back: a = scale·r, -α/M·r², 1/scale and 1/a."""

    a: ir.Value
    slope: ir.Value
    ratio: ir.Value
    inverse: ir.Value


class BatchStatistics:
    """Arithmetic on per-channel vectors done once a graph instead of once a layer.

    - ``(1-α)·(μ_s - m⁰)`` and ``(1-α)·σ²_s + ε`` of every layer: one Concat, the arithmetic, one Split;
    - the counts of values and ``-α/M`` by number of positions;
    - for the way back, r = 1/√(σ² + ε), a = scale·r and what follows from both, see ``backward``.

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
        self.constant = False  # whether adjoints take the statistics for constants
        self.recompute = False  # whether adjoints compute every second input again
        self.dropped: set[ir.Value] = set()  # inputs that they do not keep
        self._norms = {norm.name: norm for norm in norms}
        self._variances: dict[str, tuple[ir.Value, ir.Value]] = {}
        self._backward: dict[str, Backward] = {}
        self._positions: dict[str, int] = {}  # where they are static
        self._n: dict[str, ir.Value] = {}
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
        self._sizes = sizes
        mean_parts = self._split(op.Mul(rest, op.Sub(means, self._origins)), sizes)
        var_parts = self._split(op.Add(op.Mul(rest, variances), epsilons), sizes)
        self._parts = {n.name: pair for n, *pair in zip(norms, mean_parts, var_parts)}
        self._batch = op.Cast(op.Gather(op.Shape(samples), 0), to=ir.DataType.FLOAT.value)

    def _split(self, values: ir.Value, sizes: Sequence[int]) -> Sequence[ir.Value]:
        lengths = np.array(sizes, np.int64)
        return self._op.node("Split", [values, lengths], {"axis": 0}, n_outputs=len(sizes))

    def part(self, norm: Norm) -> Sequence[ir.Value]:
        """``(1-α)·(μ_s - m⁰)`` and ``(1-α)·σ²_s + ε`` of a layer, ``(C,)`` each."""
        return self._parts[norm.name]

    def _shared_out(self, squares: ir.Value, names: Sequence[str]) -> ir.Value:
        """Each layer's part of a vector times its -α/M."""
        if all(name in self._positions for name in names):
            sizes = [self._norms[name].slots["scale"].size for name in names]
            values = np.repeat([self._positions[name] for name in names], sizes)
            rate = self._op.Neg(self._op.Div(self._alpha, self._batch))
            return self._op.Mul(squares, self._op.Mul(rate, (1 / values).astype(np.float32)))
        shares = [
            self._op.Expand(self.share(self._n[name]), [self._norms[name].slots["scale"].size])
            for name in names
        ]
        return self._op.Mul(squares, self._op.Concat(*shares, axis=0))

    def count(self, norm: Norm, x: ir.Value) -> ir.Value:
        """Values behind each channel of x: frames times positions, a scalar."""
        positions = dims(x)[2:]
        static = [d for d in positions if isinstance(d, int)]
        if len(static) < len(positions):  # positions known at run time only
            op = self._op
            size = op.Cast(op.Size(x), to=ir.DataType.FLOAT.value)
            self._n[norm.name] = op.Div(size, np.float32(norm.slots["scale"].size))
            return self._n[norm.name]
        key = int(np.prod(static))
        self._positions[norm.name] = key
        if key not in self._counts:
            self._counts[key] = self._op.Mul(self._batch, np.float32(key))
        self._n[norm.name] = self._counts[key]
        return self._counts[key]

    def share(self, count: ir.Value) -> ir.Value:
        """-α/M for M values a channel."""
        if count not in self._shares:
            self._shares[count] = self._op.Neg(self._op.Div(self._alpha, count))
        return self._shares[count]

    def true_means(self, shifted: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Batch means with the source means added back, in the order of the norms."""
        joined = self._op.Concat(*shifted, axis=0)
        return self._split(self._op.Add(joined, self._origins), self._sizes)

    def remember(self, norm: Norm, scale: ir.Value, var: ir.Value) -> None:
        """A layer's scale and its variance with ε in it, for ``backward``."""
        self._variances[norm.name] = (scale, var)

    def backward(self, norm: Norm) -> Backward:
        """What a layer's adjoint needs; made for all layers at once when the first of them asks.

        Each scale is kept off zero by ``TINY``, so that sums over a·dz can be divided by a.
        """
        if not self._backward:
            op, names = self._op, list(self._variances)
            sizes = [self._norms[name].slots["scale"].size for name in names]
            scales, variances = (
                op.Concat(*(self._variances[name][k] for name in names), axis=0) for k in (0, 1)
            )
            r = op.Reciprocal(op.Sqrt(variances))
            zero = op.Cast(op.Less(op.Abs(scales), TINY), to=ir.DataType.FLOAT.value)
            gains = op.Add(scales, op.Mul(zero, 2 * TINY))
            a = op.Mul(gains, r)
            slope = self._shared_out(op.Mul(r, r), names)
            vectors = (a, slope, op.Reciprocal(gains), op.Reciprocal(a))
            parts = [self._split(v, sizes) for v in vectors]
            self._backward = {name: Backward(*p) for name, *p in zip(names, *parts)}
        return self._backward[norm.name]
