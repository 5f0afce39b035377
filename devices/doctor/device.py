"""Which board this is, and whether it has a profile."""

from __future__ import annotations

from collections.abc import Iterator

from tta.devices.finding import Finding, Subject, ok, warn


def check(subject: Subject) -> Iterator[Finding]:
    """Known, served by a common denominator, or not supported."""
    found, profile = subject.recognised, subject.profile
    if found.known:
        board = f"{found.board}, " if found.board else ""
        yield ok(f"{board}served as {profile.name} ({found.how})")
    elif found.unsupported:
        yield warn(
            f"{found.board} is not supported: {found.unsupported}; served as {profile.name}",
            "use a board of docs/devices.md, or describe this one in a .toml file and name it with --device",
        )
    else:
        yield warn(
            f"no profile for {found.board or 'this board'} ({found.how}): served as {profile.name}",
            f"copy devices/{profile.name}.toml, correct its figures, and name the copy with --device",
        )
