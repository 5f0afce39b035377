"""Writes results to the terminal, as lines for people or as JSON: ``stdout?json=true``."""

from __future__ import annotations

from tta.records import Decision, Result, Shift
from tta.runtime.answer import answered, in_words
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
        elif (answer := answered(prediction)) is not None:
            parts.append(in_words(answer))
        parts.append(f"{1000 * prediction.latency_s:.1f} ms")
        parts.append(report.level)
    line = "  ".join(parts) + "\n"
    if report.shift is not None:
        line += f"        {describe(report.shift)}\n"
    return line + _governor(report.decision) if report.decision else line


def describe(shift: Shift) -> str:
    """A shift in words: what, since when, by which scores and layers, how sure.

    >>> describe(Shift("detected", 320, 256, {"mmd": 1.4}, {"stem": 0.2}, 8e5))
    'drift detected, since frame 256: mmd 1.4 of its threshold; layers stem; once in 800,000 source frames'
    """
    if shift.verdict == "detected":
        scores = ", ".join(
            f"{k} {v:.1f}" for k, v in sorted(shift.metrics.items(), key=lambda i: -i[1])[:3]
        )
        text = f"drift detected, since frame {shift.onset}: {scores} of its threshold"
        if shift.layers:
            top = sorted(shift.layers, key=lambda k: -shift.layers[k])[:3]
            text += f"; layers {', '.join(top)}"
        rare = shift.rarity_frames
        return text + (f"; once in {min(rare, 1e12):,.0f} source frames" if rare == rare else "")
    home = "the source" if shift.domain == 0 else f"domain {shift.domain}"
    words = {"recall": "known: back in", "learn": "new, harmless so far:", "alarm": "ALARM, new:"}
    text = f"drift since frame {shift.onset} is {words[shift.verdict]} {home}"
    if shift.error is not None:
        low, middle, high = (100 * e for e in shift.error)
        text += f"; estimated error {middle:.0f} % ({low:.0f} to {high:.0f})"
    return text + (f"; kind {shift.kind}" if shift.verdict != "recall" else "")


def _governor(decision: Decision) -> str:
    return f"        {decision.action}: {decision.reason} (step {decision.step})\n"
