"""How the kernel chooses clocks: a governor that keeps them low."""

from __future__ import annotations

from collections.abc import Iterator

from tta.devices.finding import Finding, Subject, ok, warn


def check(subject: Subject) -> Iterator[Finding]:
    """``powersave`` keeps the lowest clock, except with intel_pstate and amd-pstate-epp."""
    machine = subject.machine
    cores = machine.found("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    governors = {path: machine.text(path) or "?" for path in cores}
    if not governors:
        yield ok("no cpufreq here: the clock is the host's or fixed")
        return
    driver = machine.text(cores[0].replace("scaling_governor", "scaling_driver")) or ""
    slow = [path for path, name in governors.items() if name in ("powersave", "userspace")]
    if slow and driver not in ("intel_pstate", "amd-pstate-epp"):
        name = governors[slow[0]]
        yield warn(
            f"governor {name} on {len(slow)} of {len(cores)} cores keeps their clocks low",
            "echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor (schedutil or "
            "performance where there is no ondemand)",
        )
    else:
        yield ok(f"governor {', '.join(sorted(set(governors.values())))}")
