"""What a source says while it runs, to the logger ``tta.sources``; repeats at their 2nd, 4th, … time."""

from __future__ import annotations

import logging
from collections.abc import Callable

_log = logging.getLogger("tta.sources")


class SourceLog:
    """Messages of one source.

    Args:
        title: what it is called, without passwords.

    Attributes:
        last: the last message.
        tell: called with each message that is told, None by default.
    """

    def __init__(self, title: str) -> None:
        self.title, self.last = title, ""
        self.tell: Callable[[str], None] | None = None
        self._times: dict[str, int] = {}

    def say(self, text: str, repeats: str = "") -> None:
        """Tell it, unless this is neither the 1st, 2nd, 4th, ... time.

        Args:
            text: one sentence.
            repeats: what counts as the same message; by default the text.
        """
        self.last = text
        key = repeats or text
        if len(self._times) > 64:
            self._times = {key: self._times.get(key, 0)}
        times = self._times[key] = self._times.get(key, 0) + 1
        if times & (times - 1):
            return
        more = f" ({times} times)" if times > 1 else ""
        said = text if self.title in text else f"{self.title}: {text}"
        _log.warning("%s%s", said, more)
        if self.tell is not None:
            self.tell(text + more)

    def forget(self) -> None:
        """Count the times anew."""
        self._times.clear()
