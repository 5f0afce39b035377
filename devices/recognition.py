"""Finds out which board this is: by device tree, by the Jetson's power model file, else by architecture.

A board is known by one of the patterns in its profile's table ``[recognise]``. A board without a profile is
served by ``generic-arm64`` or ``desktop``; those of ``unsupported.toml`` are told why.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tta.devices import board
from tta.devices.machine import Machine

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

UNSUPPORTED = Path(__file__).parent / "unsupported.toml"
_TREES = ("/proc/device-tree", "/sys/firmware/devicetree/base")  # the same; containers may lack one
_ARM64 = ("aarch64", "arm64")
_PC = ("x86_64", "amd64", "AMD64")


@dataclass(frozen=True, slots=True)
class Recognised:
    """Which profile serves a machine, and how that was found.

    Attributes:
        name: of the profile.
        board: what the machine calls itself, empty where nothing says.
        how: a clause that says by what it was found.
        known: whether a profile is meant for it; a common denominator serves others.
        unsupported: why it is not supported, empty where nothing speaks against it.
    """

    name: str
    board: str
    how: str
    known: bool
    unsupported: str = ""

    @property
    def told(self) -> str:
        """The sentence for a user whose board has no profile of its own."""
        cure = f"served as {self.name}; name another profile or a .toml file with --device"
        if self.unsupported:
            return f"{self.board} is not supported: {self.unsupported}; {cure}"
        return f"no profile for {self.board or 'this board'} ({self.how}): {cure}"


def recognise(machine: Machine) -> Recognised:
    """The profile that serves a machine.

    >>> recognise(Machine(root=Path("/nowhere"), architecture="x86_64")).name
    'desktop'
    """
    names, model, how = _names(machine)
    profiles = [board.load(name) for name in board.names()]
    for profile in profiles:
        if _match(profile.recognise, names):
            return Recognised(profile.name, model, how, True)
    name = "generic-arm64" if machine.architecture in _ARM64 else "desktop"
    for title, entry in unsupported().items():
        if _match(entry["recognise"], names):
            return Recognised(name, model or title, how, False, entry["why"])
    if not how:
        how = f"architecture {machine.architecture}, and nothing names the board"
    pc = machine.architecture in _PC and not names
    return Recognised(name, model, how, pc)


def resolve(name: str, machine: Machine | None = None) -> tuple[board.DeviceProfile, Recognised]:
    """A profile by name or path; ``auto`` is the one that serves this machine.

    Raises:
        NotFoundError: there is no such profile.
        TtaError: the file is malformed.
    """
    found = recognise(machine or Machine())
    if name == "auto":
        return board.load(found.name), found
    profile = board.load(name)
    how = "named with --device"
    if found.known and found.name != profile.name:
        how += f", on what looks like {found.name}"
    return profile, Recognised(profile.name, found.board, how, True)


def unsupported() -> dict[str, dict[str, Any]]:
    """Boards that are not supported by title: patterns that know them, why, and the source of that."""
    found: dict[str, dict[str, Any]] = tomllib.loads(UNSUPPORTED.read_text(encoding="utf-8"))[
        "boards"
    ]
    return found


def _names(machine: Machine) -> tuple[list[str], str, str]:
    """All names by which the board goes, the one for people, and where they came from."""
    for tree in _TREES:
        compatible = (machine.raw(f"{tree}/compatible") or b"").decode("utf-8", "replace")
        model = machine.text(f"{tree}/model") or ""
        names = [*filter(None, compatible.split("\0")), *filter(None, [model])]
        if names:
            return names, model or names[0], "device tree"
    power = _power_model(machine)  # in a container that hides the device tree
    if power:
        return [power], f"Jetson with {power}", "/etc/nvpmodel.conf"
    if machine.exists("/etc/nv_tegra_release"):
        return ["nv_tegra_release"], "a Jetson", "/etc/nv_tegra_release"
    vendor = machine.text("/sys/class/dmi/id/sys_vendor") or ""
    product = machine.text("/sys/class/dmi/id/product_name") or ""
    title = f"{vendor} {product}".strip()
    return [], title, f"architecture {machine.architecture}, DMI" if title else ""


def _power_model(machine: Machine) -> str:
    """Name of the file that ``/etc/nvpmodel.conf`` links to: it has the module's number."""
    try:
        return os.path.basename(os.readlink(machine.at("/etc/nvpmodel.conf")))
    except OSError:
        return ""


def _match(patterns: Sequence[str], names: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)
