"""Tables and live progress on a terminal: by rich where it is installed, in plain text elsewhere.

rich and what it needs weigh 12 MB, more than the whole runtime, so a device does without.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Advance = Callable[[int, int, str], None]  # task, frames done since the last call, a note


class Terminal:
    """Where a command prints.

    Args:
        plain: no rich, even where it is installed.
    """

    def __init__(self, plain: bool = False) -> None:
        self._console: Any = None
        if not plain and importlib.util.find_spec("rich") is not None:
            self._console = importlib.import_module("rich.console").Console(highlight=False)

    def say(self, text: str) -> None:
        """Print one paragraph."""
        if self._console is None:
            print(text, flush=True)
        else:
            self._console.print(text, markup=False)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table; the first column is text, the others numbers."""
        if self._console is None:
            print(plain_table(title, columns, rows), flush=True)
            return
        table = importlib.import_module("rich.table").Table(title=title)
        for k, column in enumerate(columns):
            table.add_column(column, justify="right" if k else "left")
        for row in rows:
            table.add_row(*row)
        self._console.print(table)

    @contextmanager
    def progress(self, names: Sequence[str], total: int) -> Iterator[Advance]:
        """Live progress of some tasks of ``total`` frames each, while the block runs.

        Only a terminal shows it: a file or a pipe gets what the command prints at its end.
        """
        if self._console is None:
            yield _plain_progress(names, total)
            return
        rich = importlib.import_module("rich.progress")
        columns = (
            rich.TextColumn("{task.description:12}"),
            rich.BarColumn(bar_width=16),
            rich.MofNCompleteColumn(),
            rich.TextColumn("{task.fields[note]}"),
            rich.TimeElapsedColumn(),
        )
        hidden = not self._console.is_terminal
        with rich.Progress(*columns, console=self._console, disable=hidden) as bars:
            tasks = [bars.add_task(name, total=total, note="") for name in names]

            def advance(task: int, done: int, note: str) -> None:
                bars.update(tasks[task], advance=done, note=note)

            yield advance


def plain_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in aligned columns.

    >>> print(plain_table("Errors", ["segment", "frozen"], [["clean", "8.3 %"], ["noise", "32.1 %"]]))
    Errors
    segment  frozen
    clean     8.3 %
    noise    32.1 %
    """
    widths = [max(len(row[k]) for row in [columns, *rows]) for k in range(len(columns))]
    lines = [
        "  ".join(
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in [columns, *rows]
    ]
    return "\n".join([title, *lines])


def _plain_progress(names: Sequence[str], total: int) -> Advance:
    """One line that is written over; nothing where there is no terminal."""
    done = [0] * len(names)

    def advance(task: int, frames: int, note: str) -> None:
        done[task] += frames
        if sys.stderr.isatty():
            end = "\n" if done[task] >= total else ""
            line = f"\r{names[task]:12} {done[task]:>5}/{total}  {note}"
            print(line, end=end, file=sys.stderr, flush=True)

    return advance
