"""What export left of the source for a drift metric."""

from __future__ import annotations

from collections.abc import Mapping

from tta.records import Array


def reference(calibration: Mapping[str, Array], metric: str) -> dict[str, Array]:
    """Arrays named ``drift.<metric>.<name>`` by their last part.

    >>> import numpy as np
    >>> sorted(reference({"drift.mmd.mean": np.ones(2), "var.stem": np.ones(2)}, "mmd"))
    ['mean']
    """
    head = f"drift.{metric}."
    return {k.removeprefix(head): v for k, v in calibration.items() if k.startswith(head)}
