"""The gate to a stream's buffer: which frames may teach, by the rules of ``tta.quarantine``."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

from tta import registry
from tta.errors import TtaError
from tta.manifest import Manifest
from tta.records import Array, Frame, Prediction

PACKAGE = "tta.quarantine"


class Rule(Protocol):
    """See ``tta.quarantine``."""

    def refuses(self, frame: Frame, x: Array, prediction: Prediction) -> str:
        """Why the frame must not teach, empty if it may."""


class Gate:
    """Asks every rule about every frame.

    Args:
        rules: ``default`` for all, ``none``, or names joined by commas.
        manifest: of the bundle.
        calibration: what the source was like.

    Attributes:
        refused: frames by rule.
        news: the clause of a rule that has begun to refuse, or nothing; taken by ``told``.

    Raises:
        NotFoundError: there is no such rule.
    """

    def __init__(self, rules: str, manifest: Manifest, calibration: Mapping[str, Array]) -> None:
        names = {"default": registry.names(PACKAGE), "none": []}.get(rules)
        chosen = [word.strip() for word in rules.split(",")] if names is None else names
        if not all(chosen):
            raise TtaError(
                f"--quarantine takes default, none, or names joined by commas, not {rules!r}"
            )
        self._rules: dict[str, Rule] = {}
        for name in chosen:
            made: Any = registry.load(PACKAGE, name)
            asks = inspect.signature(made).parameters
            self._rules[name] = made(manifest, calibration) if asks else made()
        self.refused = Counter[str]()
        self._now: set[str] = set()
        self._news = ""

    def refuses(self, frame: Frame, x: Array, prediction: Prediction) -> bool:
        """Whether the frame must not teach. A rule that raises refuses."""
        found = {}
        for name, rule in self._rules.items():
            try:
                why = rule.refuses(frame, x, prediction)
            except Exception as error:
                why = f"rule {name} failed: {error}"
            if why:
                found[name] = why
        self.refused.update(found.keys())
        if begun := [why for name, why in found.items() if name not in self._now]:
            self._news = "; ".join(begun)
        self._now = set(found)
        return bool(found)

    def told(self) -> str:
        """What has begun since it was last asked, for the log; empty if nothing has."""
        news, self._news = self._news, ""
        return news
