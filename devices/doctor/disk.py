"""The file system that states and logs are written to: room, and whether it takes writes."""

from __future__ import annotations

from collections.abc import Iterator

from tta.devices.finding import Finding, Subject, fail, ok, warn

FULL_MIB, SHORT_MIB = 64.0, 512.0  # the audit log may have 64 MiB by default
_MIB = 2**20


def check(subject: Subject) -> Iterator[Finding]:
    """Read-only, full, short, or in memory."""
    machine = subject.machine
    folder = machine.folder
    mounted = machine.mount(folder)
    device, point, kind, options = mounted or ("?", folder, "?", frozenset())
    if "ro" in options:
        yield fail(
            f"{point} ({device}, {kind}) is mounted read-only: states and logs cannot be written to {folder}",
            f"sudo mount -o remount,rw {point}; if that fails, see sudo dmesg: the card may be dying",
        )
        return
    try:
        total, free = (n / _MIB for n in machine.usage(folder))
    except OSError as error:
        yield warn(
            f"the free room at {folder} cannot be read: {error}", "name a folder that is there"
        )
        return
    fact = f"{free:.0f} MiB of {total:.0f} free at {point}"
    cure = f"sudo apt clean && sudo journalctl --vacuum-size=50M; the largest: sudo du -xh {point} | sort -h"
    if free < FULL_MIB:
        yield fail(f"{fact}: the disk is full", cure)
    elif free < SHORT_MIB:
        yield warn(f"{fact}: recordings and logs will fill it", f"{cure}; or --log-mib 16")
    elif kind in ("tmpfs", "overlay", "ramfs"):
        yield warn(
            f"{folder} lies on {kind}: what is written there is gone after a restart",
            "name a folder on a disk with --state-dir and --log; in a container mount a volume",
        )
    else:
        yield ok(fact)
