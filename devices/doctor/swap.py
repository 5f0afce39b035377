"""Swap: none on a small board, or one that wears the card out."""

from __future__ import annotations

from collections.abc import Iterator

from tta.devices.finding import Finding, Subject, ok, warn

SMALL_MIB = 1100.0


def check(subject: Subject) -> Iterator[Finding]:
    """Where it is, and whether it is needed."""
    machine = subject.machine
    areas = [line.split() for line in (machine.text("/proc/swaps") or "").splitlines()[1:]]
    total = machine.memory_mib().get("MemTotal")
    on_card = [a[0] for a in areas if a and "zram" not in a[0] and _on_card(subject, a[0])]
    if not areas and total is not None and total < SMALL_MIB:
        yield warn(
            f"no swap beside {total:.0f} MiB of memory: pip and the building of sessions may be killed",
            "sudo apt install zram-tools && sudo systemctl restart zramswap",
        )
    elif on_card:
        yield warn(
            f"swap on {on_card[0]} wears the card out, and stalls frames",
            "use zram instead: sudo apt install zram-tools, and "
            "sudo dphys-swapfile swapoff && sudo systemctl disable dphys-swapfile",
        )
    elif areas:
        yield ok(f"swap on {', '.join(a[0] for a in areas if a)}")
    else:
        yield ok("no swap, and memory enough without")


def _on_card(subject: Subject, area: str) -> bool:
    if area.startswith("/dev/"):
        return "mmcblk" in area
    mounted = subject.machine.mount(area)
    return mounted is not None and "mmcblk" in mounted[0]
