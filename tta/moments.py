"""Running statistics of norm layers: merging moments, moving averages, distances."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tta.records import Array, Moments

EPS = 1e-3  # added to variances in the distance, as MECTA does


def blend(old: tuple[Array, Array], new: tuple[Array, Array], share: float) -> tuple[Array, Array]:
    """Moments of a mixture: ``share`` of the new population, the rest of the old.

    mean = (1-s)·m₁ + s·m₂,  var = (1-s)·v₁ + s·v₂ + s(1-s)(m₂-m₁)².  All ``(C,)``; float64 inside.

    >>> import numpy as np
    >>> m, v = blend((np.zeros(1), np.ones(1)), (np.full(1, 2.0), np.ones(1)), 0.5)
    >>> float(m[0]), float(v[0])
    (1.0, 2.0)
    """
    mean, var = mixture(old, new, share)
    return mean.astype(np.float32), var.astype(np.float32)


def mixture(
    old: tuple[Array, Array], new: tuple[Array, Array], share: float
) -> tuple[Array, Array]:
    """``blend`` in float64, for moments that are blended many times."""
    (m1, v1), (m2, v2) = [
        (np.asarray(m, np.float64), np.asarray(v, np.float64)) for m, v in (old, new)
    ]
    mean = (1 - share) * m1 + share * m2
    var = (1 - share) * v1 + share * v2 + share * (1 - share) * (m2 - m1) ** 2
    return mean, var


def robust(values: Array) -> tuple[Array, Array]:
    """Median and 1.4826 · MAD of each column of ``(n, k)``: mean and deviation that outliers do not move.

    The factor makes it the standard deviation of a normal distribution (Rousseeuw & Croux, "Alternatives to
    the median absolute deviation", JASA 1993).

    >>> import numpy as np
    >>> robust(np.array([[0.0], [1.0], [2.0], [900.0], [3.0]]))
    (array([2.]), array([1.4826]))
    """
    middle = np.median(values, axis=0)
    return middle, 1.4826 * np.median(np.abs(values - middle), axis=0)


def symmetric_kl(a: tuple[Array, Array], b: tuple[Array, Array]) -> float:
    """Mean over channels of the symmetric Gaussian Kullback-Leibler divergence, in nats.

    J = ½·[(v_a + d²)/v_b + (v_b + d²)/v_a] - 1 with d = m_a - m_b: the sum of both directions.
    Hong et al., "MECTA", ICLR 2023, section 3.2 (there averaged over channels, ε = 1e-3).

    >>> import numpy as np
    >>> symmetric_kl((np.zeros(2), np.ones(2)), (np.zeros(2), np.ones(2)))
    0.0
    """
    (ma, va), (mb, vb) = [
        (np.asarray(m, np.float64), np.asarray(v, np.float64) + EPS) for m, v in (a, b)
    ]
    d2 = (ma - mb) ** 2
    return float(np.mean(0.5 * ((va + d2) / vb + (vb + d2) / va) - 1))


def layer_moments(values: Mapping[str, Array], layer: str) -> tuple[Array, Array] | None:
    """Mean and variance of a layer among slots (``<layer>.mean``) or calibration (``mean.<layer>``)."""
    for mean, var in ((f"{layer}.mean", f"{layer}.var"), (f"mean.{layer}", f"var.{layer}")):
        if mean in values and var in values:
            return values[mean], values[var]
    return None


def distance(moments: Mapping[str, Moments], reference: Mapping[str, Array]) -> dict[str, float]:
    """``symmetric_kl`` of each layer's batch moments to reference statistics, where there are any."""
    found = {}
    for layer, batch in moments.items():
        known = layer_moments(reference, layer)
        if known is not None:
            found[layer] = symmetric_kl((batch.mean, batch.var), known)
    return found


class LayerDistance:
    """``distance`` to fixed reference statistics, all channels of all layers at once: what a device repeats.

    The arithmetic is done in place, so one object serves one stream.
    """

    def __init__(self, reference: Mapping[str, Array]) -> None:
        self._reference = reference
        self._layers: tuple[str, ...] = ()
        self._known: tuple[str, ...] = ()

    def __call__(self, moments: Mapping[str, Moments]) -> dict[str, float]:
        """Divergence of each layer that the reference knows."""
        layers = tuple(moments)
        if layers != self._layers:
            self._prepare(layers, moments)
        if not self._known:
            return {}
        parts = [moments[layer] for layer in self._known]
        both, scratch = self._both, self._scratch
        np.concatenate([*[m.mean for m in parts], *[m.var for m in parts]], out=both)
        d, var = both[0 : self._n], both[self._n :]
        var += EPS
        d -= self._mean
        d *= d
        np.reciprocal(var, out=scratch)
        var += d  # v + d²
        var *= self._inverse
        d += self._var  # v_s + d²
        d *= scratch
        total = var
        total += d
        sums: list[float] = np.add.reduceat(total, self._starts).tolist()
        return {k: 0.5 * s / n - 1 for k, s, n in zip(self._known, sums, self._sizes)}

    def _prepare(self, layers: tuple[str, ...], moments: Mapping[str, Moments]) -> None:
        self._layers = layers
        pairs = {k: layer_moments(self._reference, k) for k in layers}
        known = {k: p for k, p in pairs.items() if p and p[0].shape == moments[k].mean.shape}
        self._known = tuple(known)
        if not known:
            return
        self._mean = np.concatenate([p[0] for p in known.values()], dtype=np.float64)
        self._var = np.concatenate([p[1] for p in known.values()], dtype=np.float64) + EPS
        self._inverse = 1 / self._var
        self._n = len(self._mean)
        self._both, self._scratch = np.empty(2 * self._n), np.empty(self._n)
        self._sizes = [p[0].size for p in known.values()]
        self._starts = np.cumsum([0, *self._sizes[:-1]])
