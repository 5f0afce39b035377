"""``tta log``: what the audit log of a run says, for people and as JSON lines."""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tta.errors import TtaError

HELP = "read the audit log of a run"
SHOWN = 4  # figures in a line of the table; --json has all
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("log", help="what tta run --log wrote")
    p.add_argument("--json", action="store_true", help="one JSON object a decision")
    p.add_argument("--since", metavar="WHEN", help="30m, 12h, 7d, or 2026-01-31T08:00")
    p.add_argument("--stream", help="of this stream alone")
    p.add_argument(
        "--action",
        dest="actions",
        metavar="A",
        help="commit, rollback, reset, reject, hold, quarantine or configure; a,b",
    )
    p.add_argument("--summary", action="store_true", help="counts, not lines")


def command(given: argparse.Namespace) -> None:
    """Run it."""
    since = _since(given.since) if given.since else None
    db = opened(given.log)
    try:
        found = list(decisions(db, since, given.stream, given.actions))
        gone = db.execute("SELECT what, sum(rows) FROM purges GROUP BY what").fetchall()
    except sqlite3.DatabaseError as error:
        raise TtaError(_damaged(given.log, error)) from error
    finally:
        db.close()
    if given.json:
        for row in found:
            print(json.dumps(row, ensure_ascii=False))
        return
    for what, rows in gone:
        print(f"{rows} older rows of {what} are gone: the log has a largest size")
    if not found:
        chosen = any((given.since, given.stream is not None, given.actions))
        print(f"{given.log} holds no decision" + (" of that kind" if chosen else ""))
    elif given.summary:
        print("\n".join(summary(found)))
    else:
        print("\n".join(line(row) for row in found))


def opened(path: str) -> sqlite3.Connection:
    """A log, to read.

    Raises:
        TtaError: there is none, or it cannot be read.
    """
    if not Path(path).is_file():
        raise TtaError(f"there is no log at {path}: tta run --log {path} writes one")
    uri = f"file:{quote(str(Path(path).resolve()))}"
    error: sqlite3.Error | None = None
    for how in ("mode=ro", "immutable=1"):  # a folder that cannot be written has no room for -shm
        db = sqlite3.connect(f"{uri}?{how}", uri=True, timeout=5)
        try:
            db.execute("SELECT count(*) FROM purges").fetchone()
        except sqlite3.OperationalError as failed:
            db.close()
            error = failed
            if "no such table" in str(failed):
                raise TtaError(f"{path} is empty, or no log of tta: name another file") from failed
        except sqlite3.DatabaseError as failed:
            db.close()
            raise TtaError(_damaged(path, failed)) from failed
        else:
            db.row_factory = sqlite3.Row
            return db
    raise TtaError(f"the log {path} cannot be read: {error}")


def _damaged(path: str, error: Exception) -> str:
    return (
        f"the log {path} is damaged ({error}): the next tta run sets it aside and begins a new one"
    )


def decisions(
    db: sqlite3.Connection, since_s: float | None, stream: str | None, actions: str | None
) -> Iterator[dict[str, Any]]:
    """Rows of decisions, oldest first, with their figures as numbers."""
    where, values = ["1"], []
    for clause, value in (("wall_s >= ?", since_s), ("stream = ?", stream)):
        if value is not None:
            where.append(clause)
            values.append(value)
    if actions:
        chosen = actions.split(",")
        where.append(f"action IN ({', '.join('?' * len(chosen))})")
        values += chosen
    text = f"SELECT * FROM decisions WHERE {' AND '.join(where)} ORDER BY id"
    for row in db.execute(text, values):
        yield {**dict(row), "figures": json.loads(row["figures"])}


def line(row: dict[str, Any]) -> str:
    """A decision for people."""
    when = datetime.fromtimestamp(row["wall_s"]).strftime("%Y-%m-%d %H:%M:%S")
    figures = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in list(row["figures"].items())[:SHOWN]
    ]
    name = f"  {row['stream']}" if row["stream"] else ""
    seq = "-" if row["seq"] is None else row["seq"]
    return (
        f"{when}{name}  frame {seq:<8} {row['action']:8}  {row['reason']}"
        f"  [{row['served']}]  {', '.join(figures)}"
    ).rstrip()


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """Counts by stream and action, and of the commonest reasons."""
    first, last = (
        datetime.fromtimestamp(rows[k]["wall_s"]).strftime("%Y-%m-%d %H:%M:%S") for k in (0, -1)
    )
    out = [f"{len(rows)} decisions, {first} to {last}"]
    for (stream, action, reason), n in Counter(
        (row["stream"], row["action"], row["reason"]) for row in rows
    ).most_common():
        out.append(f"{n:8}  {action:8}  {reason}" + (f"  ({stream})" if stream else ""))
    return out


def _since(text: str) -> float:
    """Wall time that a word means."""
    if found := re.fullmatch(r"(\d+)([smhd])", text):
        return time.time() - int(found[1]) * _UNITS[found[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise TtaError(f"--since is as 30m, 12h, 7d or 2026-01-31T08:00, but is {text!r}") from None
