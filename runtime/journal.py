"""Writes what a run decided into its history: a sink that is also told of the streams."""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tta.errors import TtaError
from tta.governor import SETTINGS
from tta.records import Decision, Result
from tta.runtime.history import CAP_MIB, History, figures_text
from tta.runtime.stream import Stream

EVERY_S = 1.0  # drift scores of a stream, at most so often
MOST_WAITING = 10_000  # rows, where the disk does not take them


def _named(given: object) -> str:
    return given if isinstance(given, str) else type(given).__name__


class Journal:
    """One row a decision, and drift scores about once a second.

    A thread writes, so that a slow card never holds up a frame. After ``kill -9`` the log holds all but the
    last moment; after a power cut all but the last ``sync_s`` seconds.

    Args:
        path: the log, see ``History``.
        cap_mib: its size at most.
        sync_s: seconds between two flushes to the disk.
        said: takes the sentences about what went wrong.
    """

    def __init__(
        self,
        path: str | Path,
        cap_mib: float = CAP_MIB,
        sync_s: float = 10.0,
        said: list[str] | None = None,
    ) -> None:
        if not sync_s > 0:
            raise TtaError(
                f"the log is flushed every so many seconds above 0, but is given {sync_s:g}"
            )
        self._history, self._sync_s = History(path, cap_mib), sync_s
        self.said = [] if said is None else said
        for sentence in self._history.said:
            self.said.append(sentence)
        self._streams: dict[str, Stream] = {}
        self._runs: dict[str, int] = {}
        self._state: dict[str, str] = {}
        self._drift_s: dict[str, float] = {}
        self._last: dict[str, tuple[int, float]] = {}  # frame, and its time
        self._rows: queue.Queue[tuple[str, dict[str, Any]] | None] = queue.Queue(MOST_WAITING)
        self.lost = 0
        self._thread = threading.Thread(target=self._work, name="tta-log", daemon=True)
        self._thread.start()

    def attach(self, streams: Sequence[Stream]) -> None:
        """The streams of this run, before the first frame."""
        for stream in streams:
            about = {
                "batch": stream.waiting.size,
                "every": stream.every,
                "commit_s": stream.commit_s,
                "adapter": _named(stream.adapter),
                "buffer": _named(stream.buffer),
                "quarantine": stream.quarantine,
                "canaries": str(stream.canaries or ""),
                "governor": SETTINGS,  # what it decides by, beside the bundle's thresholds
            }
            row = {
                "wall_s": time.time(),
                "stream": stream.name,
                "bundle": stream.model.bundle.hash,
                "adapter": stream.origin.adapter,
                "governor": stream.guard.mode,
                "state": stream.current.hash,
                "about": json.dumps(about),
            }
            try:
                self._runs[stream.name] = self._history.add([("runs", row)])[0]
            except sqlite3.Error as error:
                raise TtaError(f"the log cannot be written: {error}") from error
            self._streams[stream.name], self._state[stream.name] = stream, stream.current.hash

    def write(self, result: Result) -> None:
        """Take one result; what is not worth a row costs a comparison."""
        report, name = result.report, result.stream
        self._last[name] = result.frame.seq, result.frame.t_s
        now = time.monotonic()
        late = now - self._drift_s.get(name, -EVERY_S) >= EVERY_S
        if report.decision is None and report.shift is None and not late:
            return
        where = {
            "run": self._runs.get(name),
            "stream": name,
            "seq": result.frame.seq,
            "t_s": float(result.frame.t_s),
            "wall_s": time.time(),
        }
        if late or report.shift is not None:
            self._drift_s[name] = now
            shift = None if report.shift is None else json.dumps(asdict(report.shift))
            scores = figures_text(report.scores)
            self._put("drift", {**where, "level": report.level, "scores": scores, "shift": shift})
        if report.decision is not None:
            self._decided(where, report.decision)

    def note(self, stream: Stream, decision: Decision) -> None:
        """Take a decision that no result carries: it stands behind the frame that came last."""
        seq, t_s = self._last.get(stream.name, (None, None))
        where = {
            "run": self._runs.get(stream.name),
            "stream": stream.name,
            "seq": seq,
            "t_s": t_s,
            "wall_s": time.time(),
        }
        self._decided(where, decision)

    def _decided(self, where: dict[str, Any], decision: Decision) -> None:
        name = where["stream"]
        before, stream = self._state.get(name), self._streams.get(name)
        moved = decision.action in ("commit", "reset")
        after = stream.current.hash if stream and moved else before
        self._state[name] = after or ""
        made = {
            "action": decision.action,
            "reason": decision.reason,
            "step": decision.step,
            "before": before,
            "after": after,
            "parent": stream.current.parent if stream else None,
            "served": decision.state,
            "figures": figures_text(decision.figures),
        }
        self._put("decisions", {**where, **made})

    def _put(self, table: str, row: dict[str, Any]) -> None:
        try:
            self._rows.put_nowait((table, row))
        except queue.Full:
            self.lost += 1

    def _work(self) -> None:
        """Write what comes, and flush it in time; what cannot be written now is tried again."""
        held: list[tuple[str, dict[str, Any]]] = []
        synced, dirty, open_ = time.monotonic(), False, True
        while open_:
            wait = max(0.0, synced + self._sync_s - time.monotonic()) if dirty or held else None
            try:
                taken = [self._rows.get(timeout=wait)]
                while not self._rows.empty():
                    taken.append(self._rows.get_nowait())
            except queue.Empty:
                taken = []
            open_ = None not in taken
            held += [row for row in taken if row is not None]
            try:
                if held:
                    self._history.add(held)
                    held, dirty = [], True
                if time.monotonic() - synced >= self._sync_s:
                    self._history.sync()
                    synced, dirty = time.monotonic(), False
            except sqlite3.Error as error:
                synced = time.monotonic()
                self._complain(f"the log {self._history.path} cannot be written: {error}")
                self.lost += max(0, len(held) - MOST_WAITING)
                held = held[-MOST_WAITING:]
        self.lost += len(held)

    def _complain(self, sentence: str) -> None:
        if sentence not in self.said:
            self.said.append(sentence)

    def close(self) -> None:
        """Write what waits, flush it and let go; a second time does nothing."""
        if not self._thread.is_alive():
            return
        self._rows.put(None)
        self._thread.join()
        try:
            self._history.close()
        except sqlite3.Error as error:
            self._complain(f"the log {self._history.path} cannot be written: {error}")
        if self.lost:
            self._complain(f"{self.lost} rows of the log {self._history.path} were lost")
