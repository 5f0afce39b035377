"""Writes results to the terminal, as lines for people or as JSON: ``stdout?json=true``."""

from __future__ import annotations

from tta.records import Decision, Result
from tta.runtime.result_record import json_line


class Stdout:
    """One line per result, written at once, and one more for what the governor did.

    Args:
        json: JSON lines, the records of ``jsonl``, instead of words.
    """

    def __init__(self, *, json: bool = False) -> None:
        self._json = json

    def write(self, result: Result) -> None:
        """Print it."""
        print(json_line(result) if self._json else human(result), end="", flush=True)

    def close(self) -> None:
        """Nothing to let go: the terminal is not ours."""


def human(result: Result) -> str:
    """The result in words, with a line feed."""
    frame, prediction, report = result.frame, result.prediction, result.report
    parts = [f"{frame.seq:>6}", f"{frame.t_s:9.2f} s"]
    if result.stream:
        parts.insert(0, result.stream)
    if prediction is None:
        parts.append(f"skipped: {result.skipped or 'no prediction'}")
    else:
        if prediction.probabilities.size:
            parts.append(f"class {prediction.label} ({100 * prediction.confidence:.0f} %)")
            parts.append(f"entropy {prediction.entropy:.2f} nats")
        parts.append(f"{1000 * prediction.latency_s:.1f} ms")
        parts.append(report.level)
    line = "  ".join(parts) + "\n"
    return line + _governor(report.decision) if report.decision else line


def _governor(decision: Decision) -> str:
    return f"        {decision.action}: {decision.reason} (step {decision.step})\n"
