"""Writes results as JSON lines: ``jsonl:out.jsonl?append=false&every=32&rotate_mib=0&keep=3``."""

from __future__ import annotations

from tta.records import Result
from tta.runtime.line_sink import LineSink
from tta.runtime.result_record import json_line


class Jsonl(LineSink):
    """One JSON object per line: strict JSON, UTF-8. Options: see ``LineSink``."""

    name = "jsonl"

    def line(self, result: Result) -> str:
        """See ``json_line``."""
        return json_line(result)
