"""Distance: how far the learned slots are from the source's."""

from __future__ import annotations

import math

import numpy as np

from tta.evidence import Evidence


class Distance:
    """Largest ‖θ - θ₀‖ / ‖θ₀‖ over layers, θ the layer's slots but for running statistics.

    Statistics follow the stream as far as it goes; what is learned need not, and far from the source it was
    trained for no loss that was measured there (elastic anchors: Niu et al., "Efficient test-time model
    adaptation without forgetting", ICML 2022, section 4.2). It only reports.
    """

    threshold = math.inf

    def figure(self, evidence: Evidence) -> float:
        """The largest share that a layer moved; 0 where nothing was learned."""
        moved: dict[str, float] = {}
        size: dict[str, float] = {}
        for name, layer in evidence.learned.items():
            old, new = evidence.source[name], evidence.slots[name]
            base = np.asarray(old, np.float64)
            d = 0.0 if new is old else float(((new - base) ** 2).sum())
            moved[layer] = moved.get(layer, 0.0) + d
            size[layer] = size.get(layer, 0.0) + float((base**2).sum())
        return max((math.sqrt(m / (size[k] or 1.0)) for k, m in moved.items()), default=0.0)

    def says(self, figure: float) -> str:
        """One clause."""
        return f"a layer is {figure:.2f} of its size away from the source"
