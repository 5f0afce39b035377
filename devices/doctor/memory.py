"""Memory: what the board has against its profile, and what is left."""

from __future__ import annotations

from collections.abc import Iterator

from tta.devices.finding import Finding, Subject, fail, ok, warn

LEAST_MIB = 150.0  # numpy, onnxruntime and a small model: 114 MiB resident, measured on x86-64
SHORT_MIB = 250.0
_ROUNDING = 0.75  # a board of 4 GB has 3.7 after the GPU and the kernel


def check(subject: Subject) -> Iterator[Finding]:
    """Total and available."""
    memory, profile = subject.machine.memory_mib(), subject.profile
    total, left = memory.get("MemTotal"), memory.get("MemAvailable")
    if total is None or left is None:
        yield warn(
            "/proc/meminfo is unreadable, so memory is not watched",
            "mount /proc in the container, and give a limit with --memory-mib",
        )
        return
    fact = f"{left:.0f} of {total:.0f} MiB available"
    cure = "close what is large (ps aux --sort=-rss | head), or switch the desktop off: "
    cure += "sudo systemctl set-default multi-user.target && sudo reboot"
    if left < LEAST_MIB:
        yield fail(f"{fact}: too little for onnxruntime", cure)
    elif left < SHORT_MIB:
        yield warn(f"{fact}: little beside onnxruntime and a model", cure)
    elif total < _ROUNDING * profile.memory_mib and profile.name not in (
        "desktop",
        "generic-arm64",
    ):
        limit = profile.budget.memory_mib
        share = f" --memory-mib {int(total / 4)}" if limit and limit > total / 4 else ""
        yield ok(
            f"{fact}; the profile {profile.name} is written for {profile.memory_mib}",
            f"tta run{share}" if share else "",
        )
    else:
        yield ok(fact)
