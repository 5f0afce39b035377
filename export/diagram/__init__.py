"""A bundle as a neural circuit diagram: ``tta inspect BUNDLE --diagram out.svg``.

After Abbott, "Neural Circuit Diagrams: robust diagrams for the communication, implementation, and
analysis of deep learning architectures", TMLR 2024 (arXiv 2402.05424): data columns, whose wires are the
axes of a tensor, alternate with operation columns. A wire that passes by a box is broadcast over,
dashed lines part the tensors of a tuple, bold boxes are learned. Added here: adaptable layers are
green and named, and the batch wire turns orange where samples mix under batch statistics.
"""

from __future__ import annotations

from tta.bundle import Bundle
from tta.export.diagram.columns import columns
from tta.export.diagram.layout import lay_out
from tta.export.diagram.svg import svg
from tta.manifest import fewest_frames


def diagram(bundle: Bundle) -> str:
    """The SVG text; the same bundle gives the same text."""
    manifest, given = bundle.manifest, columns(bundle)
    coupled = len(manifest.batch_coupled)
    frames = fewest_frames(manifest)
    mixing = (
        f"{coupled} of them mix samples when they run on batch statistics: a step takes {frames} "
        f"frame{'s'[: frames > 1]} or more"
        if coupled
        else "none of them mixes samples: a step takes 1 frame or more"
    )
    lines = [
        f"bundle {bundle.hash[:12]}, task {manifest.task}, graph infer.onnx with the layers that adapt",
        f"{len(manifest.layers)} adaptable layers; {mixing}",
    ]
    return svg(given, lay_out(given), manifest.name, lines)
