"""``tta bench``: what a bundle costs on this machine, always as a ratio to plain onnxruntime.

Each candidate is a process of its own, and they take turns in blocks of frames, so that whatever else the
machine does strikes all of them alike, and memory is the candidate's alone. Plain onnxruntime on the folded
source model is there twice; the ratio of the two (A/A) says how far a ratio can be trusted. Beside every
ratio stands what was learned meanwhile: a candidate that did not adapt proves nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tta.bundle import Bundle
from tta.runtime.bench_cost import eager, memory, steps, torch
from tta.runtime.bench_report import Bench, Setting, Table
from tta.runtime.bench_speed import paced, speed
from tta.runtime.fold import fold


def bench(bundle: Bundle, setting: Setting, others: Sequence[Bundle] = ()) -> Bench:
    """Measure one bundle, and its steps beside those of other bundles of the same model.

    Raises:
        TtaError: a candidate could not run; the message is its last word.
    """
    found = Bench(bundle.manifest.name, setting)
    with tempfile.TemporaryDirectory() as scratch:
        plain = {"kind": "plain", "model": str(fold(bundle, None, Path(scratch) / "plain.onnx"))}
        original = eager(setting, scratch) if setting.vs else None
        speed(found, bundle, plain, setting, others, original)
        steps(found, bundle, plain, setting, others)
        memory(found, bundle, plain, setting)
        if original is not None:
            torch(found, bundle, original, setting, others)
        if setting.fps:
            paced(found, bundle, plain, setting)
    return found


__all__ = ["Bench", "Setting", "Table", "bench"]
