"""Which nodes of the bundle each provider would run, and whether each one survives its first frame.

onnxruntime moves what a provider cannot take to the CPU without a word, and a provider may load and then
fail at its first run. So each is given a frame of zeros. Nodes are counted as onnxruntime assigns them after
its basic optimizations (``get_provider_graph_assignment_info``), in versions without that as its profiler
saw them run, fused; else nothing is known.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from tta.bundle import Bundle
from tta.devices.finding import Finding, Subject, fail, ok, warn
from tta.runtime.doctor._bundle import opened
from tta.runtime.provider import NAMES
from tta.runtime.session import InferSession, options

_CPU = "CPUExecutionProvider"
_OPEN_AXIS = 32  # where the model leaves a size open
_SHORT = {full: short for short, full in NAMES.items()}


def check(subject: Subject) -> Iterator[Finding]:
    """One line a provider of the profile that is there, the CPU last."""
    bundle = opened(subject)
    if bundle is None:
        return
    have = ort.get_available_providers()
    if _CPU not in have:
        return
    for provider in [p for p in subject.profile.providers if p in have and p != _CPU]:
        yield _examine(bundle, provider)
    yield _examine(bundle, _CPU)


def _examine(bundle: Bundle, provider: str) -> Finding:
    short = _SHORT.get(provider, provider)
    cure = "serve on the CPU, which tta run does with --provider cpu; "
    if provider in ("CUDAExecutionProvider", "TensorrtExecutionProvider"):
        cure += (
            "onnxruntime-gpu, CUDA and cuDNN must fit, see onnxruntime.ai/docs/execution-providers"
        )
    else:
        cure += f"report it to onnxruntime with the model if {short} should take it"
    if provider == _CPU:
        cure = "pip install -U onnxruntime; if it stays so, export the bundle again"
    with tempfile.TemporaryDirectory(prefix="tta-doctor-") as folder:
        made = _watched(folder)
        asked = [provider] if provider == _CPU else [provider, _CPU]
        try:
            session = InferSession(bundle, providers=asked, base=made)
        except Exception as error:  # onnxruntime raises what its providers raise
            return fail(f"{short} cannot load {bundle.manifest.name}: {_line(error)}", cure)
        if provider not in session.onnx.get_providers():
            return fail(f"{short} does not load here: onnxruntime fell back to the CPU", cure)
        try:
            session.run(_frame(bundle))
        except Exception as error:
            return fail(f"{short} loads, and fails at its first frame: {_line(error)}", cure)
        nodes = _assigned(session.onnx) or _profiled(session.onnx)
    return _told(short, provider, nodes)


def _told(short: str, provider: str, nodes: Mapping[str, Counter[str]]) -> Finding:
    if not nodes:
        return ok(
            f"{short} ran a frame; which nodes ran where is not known with onnxruntime {ort.__version__}"
        )
    total = sum(sum(kinds.values()) for kinds in nodes.values())
    own = sum(nodes.get(provider, Counter()).values())
    rest: Counter[str] = Counter()
    for name, kinds in nodes.items():
        if name != provider:
            rest += kinds
    fact = f"{short} runs {own} of {total} nodes"
    if not rest:
        return ok(fact)
    most = ", ".join(f"{n} {kind}" for kind, n in rest.most_common(4))
    elsewhere = f"{fact}, the CPU runs {most}"
    if own * 2 < total:
        return warn(
            f"{elsewhere}: each change of provider copies",
            "compare with --provider cpu; a bundle exported with fewer adaptable layers may fit better",
        )
    return ok(elsewhere)


def _watched(folder: str) -> ort.SessionOptions:
    made = options()
    made.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"):
        made.enable_profiling = True
        made.profile_file_prefix = str(Path(folder) / "frame")
    return made


def _assigned(session: Any) -> dict[str, Counter[str]]:
    """Operators by provider as onnxruntime assigned them; empty where it does not say."""
    found: dict[str, Counter[str]] = {}
    try:
        for part in session.get_provider_graph_assignment_info():
            kinds = found.setdefault(part.ep_name, Counter())
            kinds.update(node.op_type for node in part.get_nodes())
    except Exception:  # absent in older versions, or not recorded
        return {}
    return found


def _profiled(session: Any) -> dict[str, Counter[str]]:
    """The same as the profiler saw one frame run."""
    found: dict[str, Counter[str]] = {}
    try:
        events = json.loads(Path(session.end_profiling()).read_text())
        for event in events:
            about = event.get("args", {})
            if event.get("cat") == "Node" and about.get("provider"):
                kinds = found.setdefault(about["provider"], Counter())
                kinds[about.get("op_name", "?")] += 1
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return found


def _frame(bundle: Bundle) -> np.ndarray[Any, Any]:
    spec = bundle.manifest.input
    return np.zeros((1, *(size or _OPEN_AXIS for size in spec.sample)), spec.dtype)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
