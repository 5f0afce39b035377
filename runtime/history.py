"""The audit log of decisions and the history of drift scores: one SQLite file (WAL), append-only and bounded.

::

    runs       when a stream began: bundle, adapter, governor, hash of the state it began with
    decisions  one row each: where in the stream, what, why, the figures, state hashes before and after
    drift      scores and level, once in a while, and every detected shift
    purges     what was deleted, and why: the only way in which a row leaves

Triggers refuse every update, and every delete but of the oldest rows that a ``purges`` row names. They guard
against mistakes, not against somebody who owns the file. Figures keep every digit, ``nan`` and ``inf`` as
strings, so that a rule applied to them gives the same decision again.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tta.errors import TtaError

SCHEMA = 1
APPLICATION = 0x74746131  # "tta1": says whose file it is
CAP_MIB = 64.0
LEAST_MIB = 1.0
DRIFT_SHARE = 0.5  # of the cap, at most: decisions are worth more
PURGED = 0.1  # of a table's rows go at once
MIB = 1 << 20
BOUNDED = ("drift", "decisions", "runs")

_TABLES = {
    "runs": "wall_s REAL, stream TEXT, bundle TEXT, adapter TEXT, governor TEXT, state TEXT, about TEXT",
    "decisions": "run INTEGER, stream TEXT, seq INTEGER, t_s REAL, wall_s REAL, action TEXT, reason TEXT, "
    "step INTEGER, before TEXT, after TEXT, parent TEXT, served TEXT, figures TEXT",
    "drift": "run INTEGER, stream TEXT, seq INTEGER, t_s REAL, wall_s REAL, level TEXT, scores TEXT, "
    "shift TEXT",
    "purges": "wall_s REAL, what TEXT, through INTEGER, rows INTEGER, reason TEXT",
}


def _schema() -> str:
    lines = [f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};"]
    for table, columns in _TABLES.items():
        lines.append(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY AUTOINCREMENT, {columns});")
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;"
        named = f"OLD.id <= (SELECT max(through) FROM purges WHERE what = '{table}')"
        lines += [
            f"CREATE TRIGGER {table}_update BEFORE UPDATE ON {table} {refuse}",
            f"CREATE TRIGGER {table}_delete BEFORE DELETE ON {table} WHEN NOT coalesce({named}, 0) {refuse}",
            f"CREATE TRIGGER {table}_replace BEFORE INSERT ON {table} "
            f"WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id) {refuse}",
        ]
    return "\n".join(lines)


def figures_text(values: Mapping[str, Any]) -> str:
    """Numbers as strict JSON that loses nothing: those that are not finite are strings."""
    plain = {k: float(v) for k, v in values.items()}
    return json.dumps({k: v if math.isfinite(v) else str(v) for k, v in plain.items()})


def figures_of(text: str) -> dict[str, float]:
    """The numbers behind ``figures_text``."""
    return {k: float(v) for k, v in json.loads(text).items()}


class History:
    """Writes the log; rows are in the file's WAL at once, and on the disk after ``sync``.

    Args:
        path: the file; its folder must exist. A damaged one is set aside as ``<path>.damaged-<n>``.
        cap_mib: size of the file at most; the oldest rows go first.

    Raises:
        TtaError: the file cannot be opened, is somebody else's, or a newer tta wrote it.
    """

    def __init__(self, path: str | Path, cap_mib: float = CAP_MIB) -> None:
        if not cap_mib >= LEAST_MIB:
            raise TtaError(f"a log may have {LEAST_MIB:g} MiB or more, but is given {cap_mib:g}")
        self.path, self.cap = Path(os.path.expanduser(path)), int(cap_mib * MIB)
        self.said: list[str] = []
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise TtaError(
                f"the log needs a file in a folder that exists, but {self.path} is none: mkdir it"
            )
        try:
            self._db = self._opened()
        except sqlite3.OperationalError as error:
            raise TtaError(f"the log {self.path} cannot be written: {error}") from error
        except sqlite3.DatabaseError as error:
            self.said.append(set_aside(self.path, str(error)))
            self._db = self._opened()

    def _opened(self) -> sqlite3.Connection:
        """A connection to a whole database of this schema, made where there is none."""
        db = sqlite3.connect(self.path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            owner = db.execute("PRAGMA application_id").fetchone()[0]
            empty = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if not empty and owner != APPLICATION:
                raise TtaError(f"{self.path} is a database, but no log of tta: name another file")
            if version > SCHEMA:
                raise TtaError(f"{self.path} has a newer schema than this tta: upgrade tta-edge")
            if not empty and (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(found)
            if empty:
                db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA journal_size_limit = {4 * MIB}")
            if empty:
                db.executescript(f"BEGIN; {_schema()} COMMIT;")
        except BaseException:
            db.close()
            raise
        return db

    def add(self, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> list[int]:
        """Append rows in one transaction; ``rows`` are (table, values by column), what it gives their ids.

        Raises:
            sqlite3.Error: nothing was written.
        """
        ids = []
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for table, values in rows:
                marks = ", ".join("?" * len(values))
                into = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"
                ids.append(self._db.execute(into, tuple(values.values())).lastrowid or 0)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return ids

    def sync(self) -> None:
        """Put what was added on the disk: a checkpoint, which flushes the WAL and then the file."""
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        while self.bytes > self.cap and self._purge_oldest():
            pass

    @property
    def bytes(self) -> int:
        """Size of what the file holds; pages that wait to be used again do not count."""
        pages, free, size = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def purge(self, what: str, through: int, reason: str) -> int:
        """Delete the rows of a table up to an id, and keep a record of it; returns how many went."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            where = f"FROM {what} WHERE id <= ?"
            count = int(self._db.execute(f"SELECT count(*) {where}", (through,)).fetchone()[0])
            self._db.execute(
                "INSERT INTO purges (wall_s, what, through, rows, reason) VALUES (?, ?, ?, ?, ?)",
                (time.time(), what, through, count, reason),
            )
            self._db.execute(f"DELETE {where}", (through,))
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("PRAGMA incremental_vacuum").fetchall()
        return count

    def _purge_oldest(self) -> bool:
        """Let a tenth of one table go: of the drift scores while they fill their share, else of decisions."""
        size = {table: self._estimate(table) for table in BOUNDED}
        what = "drift" if size["drift"][0] > DRIFT_SHARE * self.cap else "decisions"
        if size[what][1] < 2:
            what = max(size, key=lambda t: size[t][0])
        _, rows, first = size[what]
        if rows < 2:
            return False
        through = first + max(1, int(PURGED * rows)) - 1
        return self.purge(what, through, f"the log reached {self.cap / MIB:g} MiB") > 0

    def _estimate(self, table: str) -> tuple[float, int, int]:
        """About how many bytes a table holds, its rows, and its first id."""
        first, last = self._db.execute(f"SELECT min(id), max(id) FROM {table}").fetchone()
        if first is None:
            return 0.0, 0, 0
        wide = "+".join(f"coalesce(length({c.split()[0]}), 0)" for c in _TABLES[table].split(", "))
        recent = f"SELECT {wide} AS n FROM {table} ORDER BY id DESC LIMIT 100"
        each = self._db.execute(f"SELECT avg(n) FROM ({recent})").fetchone()[0]
        return each * (last - first + 1), last - first + 1, first

    def close(self) -> None:
        """Put everything on the disk and let go; a second time does nothing."""
        try:
            self.sync()
        except sqlite3.ProgrammingError:
            return
        finally:
            self._db.close()


def set_aside(path: Path, why: str) -> str:
    """Rename a damaged database and what belongs to it; the sentence that says so."""
    n = 1
    while Path(f"{path}.damaged-{n}").exists():
        n += 1
    for suffix in ("", "-wal", "-shm"):
        if (part := Path(f"{path}{suffix}")).exists():
            part.rename(f"{path}.damaged-{n}{suffix}")
    return (
        f"the log {path} was damaged ({why}): it is kept as {path}.damaged-{n}, and a new one begun"
    )
