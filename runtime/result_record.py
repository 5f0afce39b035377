"""One result as a flat JSON object: what machine-readable sinks write."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from tta.records import Decision, DriftReport, Result
from tta.runtime.answer import answered


def record(result: Result) -> dict[str, Any]:
    """The result without its arrays; numbers that are not finite are None.

    Keys are always the same, but for ``label`` and ``label_name`` (the truth, where the source
    knows it), ``decision`` (where the governor took one) and ``shift`` in ``drift`` (where one was detected,
    or its verdict came).
    """
    frame, prediction, report = result.frame, result.prediction, result.report
    out: dict[str, Any] = {
        "stream": result.stream,
        "seq": frame.seq,
        "t_s": frame.t_s,
        "source": frame.source,
    }
    out.update({key: frame.meta[key] for key in ("label", "label_name") if key in frame.meta})
    out.update(
        predicted=None, confidence=None, entropy=None, latency_s=None, state=None, served=None
    )
    if prediction is not None:
        out.update(
            predicted=answered(prediction),
            confidence=prediction.confidence,
            entropy=prediction.entropy,
            latency_s=prediction.latency_s,
            state=prediction.state,
            served=prediction.served,
        )
    out["skipped"] = result.skipped
    out["drift"] = _drift(report)
    if report.decision is not None:  # the layers' scores change with the batches only
        out["drift"]["layers"] = report.layers
        out["decision"] = _decision(report.decision)
    if report.shift is not None:
        out["drift"]["shift"] = asdict(report.shift)
    plain: dict[str, Any] = _plain(out)
    return plain


def json_line(result: Result) -> str:
    """The record as strict JSON with a line feed."""
    global _last
    report = result.report
    if report.decision is not None or report.shift is not None:
        return _text(record(result)) + "\n"
    known, drift = _last
    if known is not report:  # it stays the same object until a score changes
        drift = _text(_plain(_drift(report)))
        _last = report, drift
    bare = record(replace(result, report=_NO_REPORT))
    del bare["drift"]
    return f'{_text(bare)[:-1]}, "drift": {drift}}}\n'


_NO_REPORT = DriftReport({})
_last: tuple[DriftReport, str] = _NO_REPORT, ""


def _text(plain: Any) -> str:
    return json.dumps(plain, allow_nan=False, ensure_ascii=False)


def _drift(report: DriftReport) -> dict[str, Any]:
    return {"level": report.level, "scores": report.scores}


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "action": decision.action,
        "reason": decision.reason,
        "step": decision.step,
        "state": decision.state,
        "figures": decision.figures,
    }


def _plain(value: Any) -> Any:
    """The value in JSON's types."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)
