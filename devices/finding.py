"""What a check of the doctor is told, and what it says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from tta.devices.board import DeviceProfile
from tta.devices.machine import Machine
from tta.devices.recognition import Recognised

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: how it is, and what to do where it is not well.

    Attributes:
        level: ``ok``; ``warn``, it runs, but something will hurt; ``fail``, it will not run.
        fact: what was seen.
        cure: what to do, a command where there is one; empty where all is well.
    """

    level: Level
    fact: str
    cure: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined: a machine, the profile that it is served by, and a bundle if one was named."""

    machine: Machine
    profile: DeviceProfile
    recognised: Recognised
    bundle: str | None = None


def ok(fact: str, cure: str = "") -> Finding:
    """All is well."""
    return Finding("ok", fact, cure)


def warn(fact: str, cure: str) -> Finding:
    """It runs, but something will hurt."""
    return Finding("warn", fact, cure)


def fail(fact: str, cure: str) -> Finding:
    """It will not run."""
    return Finding("fail", fact, cure)
