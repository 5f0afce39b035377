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
from tta.errors import TtaError
from tta.runtime.bench_cost import eager, memory, steps, torch
from tta.runtime.bench_report import Bench, Setting, Table, label
from tta.runtime.bench_speed import paced, speed
from tta.runtime.fold import fold
from tta.runtime.method import check_coupling, check_needs, make_adapter

EAGER_ADAPTERS = ("tent", "bn_stats")


def bench(bundle: Bundle, setting: Setting, others: Sequence[Bundle] = ()) -> Bench:
    """Measure one bundle, and its steps beside those of other bundles of the same model.

    Raises:
        TtaError: something asked for cannot be measured, or a candidate could not run: then the message is
            its last word.
    """
    _check(bundle, setting, others)
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


def _check(bundle: Bundle, setting: Setting, others: Sequence[Bundle]) -> None:
    """Refuse at once what a candidate would refuse after minutes."""
    adapter = make_adapter(setting.adapter)
    for each in (bundle, *others) if setting.vs else (bundle,):
        check_needs(adapter, each)
        check_coupling(adapter, each, setting.batch)
    name = setting.adapter.partition("?")[0]
    if setting.vs and name not in EAGER_ADAPTERS:
        raise TtaError(
            f"eager torch has {' and '.join(EAGER_ADAPTERS)}, but not {name!r}: choose --adapter tent, "
            "or leave out --vs"
        )
    names = [label(each, k) for k, each in enumerate((bundle, *others))]
    if twice := [name for name in names if names.count(name) > 1]:
        raise TtaError(
            f"two bundles are called {twice[0]!r}, and figures go by that name: rename a folder"
        )


__all__ = ["Bench", "Setting", "Table", "bench"]
