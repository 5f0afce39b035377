"""Health of SD cards and eMMC: what wear they tell, and the errors that the file system counted.

eMMC tells its wear (``life_time``, ``pre_eol_info``: JESD84-B50, EXT_CSD 267 to 269). SD cards tell nothing,
so errors are all that there is to see.
"""

from __future__ import annotations

from collections.abc import Iterator

from tta.devices.finding import Finding, Subject, fail, ok, warn

_COPY = "copy it to a new one now (sudo dd if=/dev/{} of=image bs=4M on another machine), and boot from that"


def check(subject: Subject) -> Iterator[Finding]:
    """One line a card, and one a file system with errors."""
    machine = subject.machine
    for folder in machine.found("/sys/block/mmcblk*"):
        name = folder.rpartition("/")[2]
        if "boot" in name or "rpmb" in name:
            continue
        kind = machine.text(f"{folder}/device/type") or "card"
        spent, end = machine.text(f"{folder}/device/life_time"), None
        end = machine.number(f"{folder}/device/pre_eol_info")
        used = max(_tenths(spent), default=0)
        if end == 3 or used >= 11:
            yield fail(f"{name} ({kind}) is at the end of its life", _COPY.format(name))
        elif end == 2 or used >= 9:
            share = f"{(used - 1) * 10} to {used * 10} % of its life is spent" if used else "worn"
            yield warn(f"{name} ({kind}): {share}", _COPY.format(name))
        elif used:
            yield ok(f"{name} ({kind}): at most {used * 10} % of its life is spent")
        else:
            yield ok(f"{name} ({kind}) does not tell its wear")
    for path in machine.found("/sys/fs/ext4/*/errors_count"):
        if errors := machine.number(path):
            partition = path.split("/")[-2]
            yield fail(
                f"the file system on {partition} counted {errors} errors",
                f"sudo touch /forcefsck && sudo reboot, or e2fsck -f /dev/{partition} from another system; "
                "if they come back, replace the card",
            )


def _tenths(text: str | None) -> list[int]:
    """The two wear estimates of ``life_time``: 1 is up to 10 %, 10 up to 100 %, 11 beyond."""
    found = []
    for word in (text or "").split():
        try:
            found.append(int(word, 16))
        except ValueError:
            continue
    return found
