"""Shows a run as it goes: a table in a terminal, else a plain line every few seconds: ``live?every_s=5``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tta.errors import TtaError
from tta.records import Result
from tta.runtime.recent_results import RecentResults

if TYPE_CHECKING:
    from tta.runtime.stream import Stream

REFRESH_S = 0.25  # of the table
FIRST_S = 1.0  # people wait for a sign of life
SHOWN = 3  # drift scores of a stream


class Live:
    """Frame rate, latency, drops, drift and the governor's last decisions of every stream.

    Args:
        every_s: seconds between two plain lines a stream, where there is no terminal or no rich.
        plain: lines even in a terminal.

    Raises:
        TtaError: ``every_s`` is not above 0.
    """

    def __init__(self, *, every_s: float = 5.0, plain: bool = False) -> None:
        if not every_s > 0:
            raise TtaError(f"option every_s of live is a time above 0 s, but is {every_s:g}")
        self._out = sys.stdout
        self._every_s = every_s
        self._seen: dict[str, RecentResults] = {}
        self._streams: dict[str, Stream] = {}
        self._due_s = -1.0
        self._live: Any = None
        if not plain and self._out.isatty() and importlib.util.find_spec("rich") is not None:
            console = importlib.import_module("rich.console").Console(file=self._out)
            live = importlib.import_module("rich.live").Live(console=console, auto_refresh=False)
            self._live = live
            self._every_s = REFRESH_S

    def attach(self, streams: Sequence[Stream]) -> None:
        """The streams that the results are of, for what results do not say."""
        self._streams = {stream.name: stream for stream in streams}

    def write(self, result: Result) -> None:
        """Count a result, and show all where it is time."""
        now = time.monotonic()
        if not self._seen:
            self._due_s = now + min(self._every_s, FIRST_S)
            if self._live is not None:
                self._live.start()
        self._seen.setdefault(result.stream, RecentResults()).take(result, now)
        if now >= self._due_s:
            self._due_s = now + self._every_s
            self._show(now)

    def close(self) -> None:
        """The last figures; a second time does nothing."""
        if self._seen:
            self._show(time.monotonic())
            if self._live is not None:
                self._live.stop()
        self._seen = {}

    def _show(self, now_s: float) -> None:
        if self._live is not None:
            self._live.update(self._table(now_s), refresh=True)
            return
        for name, seen in self._seen.items():
            print(self.line(name, seen, now_s), file=self._out, flush=True)

    def line(self, name: str, seen: RecentResults, now_s: float) -> str:
        """A stream in one line, with the last decision since the line before."""
        parts = [time.strftime("%H:%M:%S"), *([name] if name else []), *self._figures(seen, now_s)]
        if seen.told:
            parts.append(seen.told[-1])
            seen.told.clear()
        return "  ".join(parts)

    def _figures(self, seen: RecentResults, now_s: float) -> list[str]:
        middle, high = seen.latency()
        parts = [f"{seen.frames:,} frames", f"{seen.rate_hz(now_s):.1f}/s"]
        parts += [f"{middle:.1f} ms (p99 {high:.1f})"] if middle == middle else []
        lost = [
            f"{n:,} {what}" for n, what in ((seen.lost, "dropped"), (seen.skipped, "skipped")) if n
        ]
        return [*parts, *lost, f"drift: {self._drift(seen)}", self._state(seen)]

    def _drift(self, seen: RecentResults) -> str:
        assert seen.last is not None
        report = seen.last.report
        stream = self._streams.get(seen.last.stream)
        limits = stream.monitor.thresholds if stream is not None else {}
        shares = {k: report.scores[k] / v for k, v in limits.items() if k in report.scores}
        top = sorted((k for k in shares if shares[k] == shares[k]), key=lambda k: -shares[k])
        told = ", ".join(f"{k} {shares[k]:.1f}" for k in top[:SHOWN])
        return report.level + (f" ({told} of threshold)" if told else "")

    def _state(self, seen: RecentResults) -> str:
        assert seen.last is not None
        stream = self._streams.get(seen.last.stream)
        if stream is None:
            served = seen.last.prediction
            return f"state {served.state}" if served is not None else "no answer"
        counts = stream.counts
        adapted = f"state {stream.serving} at step {stream.current.step}"
        what = "source model" if stream.by_source else adapted
        return f"{what}, {counts.commits} commits, {counts.resets} returns, governor {stream.guard.mode}"

    def _table(self, now_s: float) -> Any:
        table = importlib.import_module("rich.table").Table(expand=True)
        text = importlib.import_module("rich.text").Text
        for column in ("stream", "frames/s", "latency", "frames", "drift", "in force", "lately"):
            table.add_column(column)
        colours = {"ok": "green", "warn": "yellow", "drift": "red"}
        for name, seen in self._seen.items():
            assert seen.last is not None
            middle, high = seen.latency()
            lost = f", {seen.lost:,} dropped" if seen.lost else ""
            skipped = f", {seen.skipped:,} skipped" if seen.skipped else ""
            table.add_row(
                text(name or "-"),
                f"{seen.rate_hz(now_s):.1f}",
                f"{middle:.1f} ms, p99 {high:.1f}",
                f"{seen.frames:,}{lost}{skipped}",
                text(self._drift(seen), style=colours[seen.last.report.level]),
                text(self._state(seen)),
                text("\n".join(seen.told) or "-"),
            )
        return table
