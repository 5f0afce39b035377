"""Power mode and supply: a Jetson's nvpmodel, cores that are off, what a Raspberry Pi 5's supply gives."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tta.devices.finding import Finding, Subject, ok, warn
from tta.devices.machine import Machine

_SUPPLY = "/proc/device-tree/chosen/power/max_current"  # mA, big-endian
_ENOUGH_MA = 5000


def check(subject: Subject) -> Iterator[Finding]:
    """The mode, cores that are off, the supply."""
    machine = subject.machine
    if machine.exists("/etc/nv_tegra_release") or subject.profile.name.startswith("jetson"):
        yield from _mode(machine)
    off = machine.text("/sys/devices/system/cpu/offline")
    if off:
        cure = (
            "sudo nvpmodel -m 0"
            if subject.profile.name.startswith("jetson")
            else (f"for n in {off}: echo 1 | sudo tee /sys/devices/system/cpu/cpuN/online")
        )
        yield warn(f"cores {off} are switched off", cure)
    supply = machine.raw(_SUPPLY)
    if supply is not None and len(supply) == 4:
        current = int.from_bytes(supply, "big")
        if current < _ENOUGH_MA:
            yield warn(
                f"the supply gives {current} mA: USB devices get 600 mA in all",
                "use the 5 V 5 A supply, or a powered hub for cameras and boards on USB",
            )
        else:
            yield ok(f"the supply gives {current} mA")


def _mode(machine: Machine) -> Iterator[Finding]:
    told = machine.ask("nvpmodel", "-q")
    if told is None:
        yield warn(
            "nvpmodel is absent, so the power mode is not known",
            "sudo apt install nvidia-l4t-nvpmodel; in a container ask outside of it",
        )
        return
    found = re.search(r"NV Power Mode:\s*(\S+)", told.text)
    if told.status or not found:
        yield warn(f"nvpmodel -q failed: {told.text[:80]}", "sudo nvpmodel -q")
        return
    mode = found.group(1)
    conf = machine.text("/etc/nvpmodel.conf") or ""
    modes = {name: int(n) for n, name in re.findall(r"POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", conf)}
    watts = {name: _watts(name) for name in modes}
    if mode in watts and len(watts) > 1 and watts[mode] == min(watts.values()):
        best = max(watts, key=lambda name: watts[name])
        yield warn(
            f"power mode {mode} is the lowest of {', '.join(modes)}",
            f"sudo nvpmodel -m {modes[best]} ({best}), where supply and cooling allow",
        )
    else:
        yield ok(f"power mode {mode}")


def _watts(name: str) -> float:
    found = re.search(r"(\d+)\s*W", name)
    return float(found.group(1)) if found else float("inf")
