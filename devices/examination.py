"""Runs checks that lie in packages, each found by its file's name."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from tta import registry
from tta.devices.finding import Finding, Subject, warn


def examine(package: str, subject: Subject) -> Iterator[tuple[str, Finding]]:
    """Names of the checks of a package in order, with what each one found.

    A check that breaks is a finding of its own: the doctor always comes to its end.
    """
    for name, module in registry.modules(package).items():
        try:
            found = list(importlib.import_module(module).check(subject))
        except Exception as error:
            found = [
                warn(
                    f"this check broke: {type(error).__name__}: {error}",
                    "report it with the output of tta doctor --json",
                )
            ]
        for finding in found:
            yield name, finding
