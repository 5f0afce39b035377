"""Numbers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tta.errors import TtaError
from tta.records import Array
from tta.tasks._plain import Plain


class Regress(Plain):
    """Values ``(N, p)`` or a map of them.

    The error of a frame is its mean absolute error, in units of the target.

    Answers agree by 1 - min(1, max_j |y_j - y'_j|/s_j), s the spread of the source model's answers on source
    data: the residual between the two, normalised.
    """

    gives = frozenset({"values"})
    share = False
    primary: ClassVar[str] = "values"
    outputs: ClassVar[str] = "values (N, p)"
    measure: ClassVar[str] = "mean absolute error"
    arrays: ClassVar[tuple[str, ...]] = ("targets", "values", "y", "labels")

    @staticmethod
    def unfit(shape: tuple[int, ...], labels: int) -> str:
        """See ``Task``; maps of numbers, such as depth, are values too."""
        if not shape:
            return "a regression's output is (N, values), but this one is (N,)"
        return (
            f"{labels} labels for the {shape[-1]} values"
            if labels and shape[-1] not in (labels, -1)
            else ""
        )

    @staticmethod
    def reference(outputs: Array, targets: Array | None) -> dict[str, Array]:
        """Spread of the answers on source data, ``(p,)``."""
        spread = outputs.reshape(len(outputs), -1).std(0)
        return {"spread": spread.astype(np.float32)}

    def decode(self, output: Array) -> Any:
        """The values, by name where they have names."""
        values = [float(v) for v in output.reshape(-1)]
        return dict(zip(self._labels, values)) if self._labels else values

    def agreement(self, frozen: Array, adapted: Array) -> Array:
        """1 less the residual over the spread, see the class."""
        apart = np.abs(np.asarray(frozen, np.float64) - adapted).reshape(len(frozen), -1)
        spread = self._known.get("spread")
        scale = frozen.reshape(len(frozen), -1).std(0) if spread is None else spread
        found: Array = 1 - np.minimum(1, (apart / np.maximum(scale, 1e-12)).max(1))
        return found

    def checked(self, targets: Array, n: int) -> Array:
        """Values ``(n, p)``, flat."""
        y = np.asarray(targets, np.float64)
        p = int(np.prod(self._shape))
        if len(y) != n or y.size != n * p or not np.isfinite(y).all():
            raise TtaError(
                f"targets of {self._name} are finite numbers ({n}, {p}), but these are {y.shape}"
            )
        return y.reshape(n, p)

    def error(self, outputs: Array, targets: Array) -> Array:
        """Mean over values of |y - t|."""
        found: Array = np.abs(outputs.reshape(len(outputs), -1) - targets).mean(1)
        return found

    def details(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Root mean square error."""
        apart = outputs.reshape(len(outputs), -1) - targets
        return {"rmse": float(np.sqrt((apart**2).mean()))}
