"""Where an adaptation step came from: places in the picture or in time, frames, and layers."""

from tta.explanation.attribution import Explanation, LayerMap, Part, explain

__all__ = ["Explanation", "LayerMap", "Part", "explain"]
