"""Takes results and drops them: the null object among sinks."""

from __future__ import annotations

from tta.records import Result


class Null:
    """Drops every result."""

    inline = True  # it needs no queue

    def write(self, result: Result) -> None:
        """Drop it."""

    def close(self) -> None:
        """Nothing to let go."""
