"""Writes results as a table: ``csv:out.csv?append=false&every=32&rotate_mib=0&keep=3``."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping

from tta import registry
from tta.records import Result
from tta.runtime.answer import answered, in_words
from tta.runtime.line_sink import LineSink

COLUMNS = (
    "stream", "seq", "t_s", "predicted", "confidence", "entropy_nats", "latency_ms", "state", "level",
    "decision", "reason", "label", "skipped",
)  # fmt: skip


class Csv(LineSink):
    """One row a result, RFC 4180, with a head; an empty cell is what is not known. Options: see ``LineSink``.

    After the columns of ``COLUMNS`` comes ``drift_NAME`` for each drift metric. A cell that a spreadsheet
    takes for a formula gets an apostrophe before it.
    """

    name = "csv"

    def head(self) -> str:
        """Names of the columns."""
        self._metrics = tuple(registry.names("tta.drift"))
        self._text = io.StringIO()
        self._rows = csv.writer(self._text)
        return self._line([*COLUMNS, *(f"drift_{name}" for name in self._metrics)])

    def line(self, result: Result) -> str:
        """One row."""
        frame, found, report = result.frame, result.prediction, result.report
        decision = report.decision
        cells: list[object] = [result.stream, frame.seq, _number(frame.t_s)]
        if found is None:
            cells += [""] * 5
        else:
            cells += [
                found.label if found.probabilities.size else in_words(answered(found)),
                _number(found.confidence),
                _number(found.entropy),
                _number(1e3 * found.latency_s),
                found.state,
            ]
        cells += [
            report.level,
            decision.action if decision else "",
            decision.reason if decision else "",
            frame.meta.get("label", ""),
            result.skipped,
        ]
        cells += self._scores(report.scores)
        return self._line([_safe(cell) for cell in cells])

    def _scores(self, scores: Mapping[str, float]) -> list[str]:
        return [_number(scores.get(name, math.nan)) for name in self._metrics]

    def _line(self, cells: Iterable[object]) -> str:
        self._text.seek(0)
        self._text.truncate()
        self._rows.writerow(cells)
        return self._text.getvalue()


def _number(value: float) -> str:
    return f"{value:.7g}" if math.isfinite(value) else ""


def _safe(cell: object) -> object:
    text = str(cell)
    return f"'{text}" if isinstance(cell, str) and text[:1] in "=+@" and text else cell
