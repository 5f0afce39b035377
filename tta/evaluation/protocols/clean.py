"""Nothing happens: what a method costs a user whose world is as the source."""

from __future__ import annotations

from collections.abc import Iterator

from tta.evaluation.protocols import Setting, Visit, visit


class Clean:
    """One visit to the source's own data."""

    resets = "never"

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """See ``EvaluationProtocol``."""
        yield visit(setting.items(0), "none", 0, True, "clean")
