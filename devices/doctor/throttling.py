"""Whether clocks are or were held down: the Raspberry Pi's flags, and frequency caps of the kernel.

Bits of ``vcgencmd get_throttled``: 0 under-voltage, 1 frequency capped, 2 throttled, 3 soft temperature
limit; the same plus 16: it has happened since the start (its documentation, graphics-utilities.adoc).
"""

from __future__ import annotations

from collections.abc import Iterator

from tta.devices.finding import Finding, Subject, fail, ok, warn
from tta.devices.machine import Machine

_FLAGS = "/sys/devices/platform/soc/soc:firmware/get_throttled"
_POWER = (
    "use a supply of 5 V 3 A (Pi 5: 5 V 5 A) with a short, thick cable, and a powered hub for USB"
)
_COOL = "add a heat sink or a fan"


def check(subject: Subject) -> Iterator[Finding]:
    """Flags of the Pi, then caps."""
    machine = subject.machine
    pi = subject.profile.name.startswith("rpi")
    if pi:
        yield from _flags(machine)
    capped = [
        cpu for cpu in machine.found("/sys/devices/system/cpu/cpu[0-9]*") if _cap(machine, cpu)
    ]
    if capped:
        most, can = _cap(machine, capped[0]) or (0, 0)
        yield warn(
            f"{len(capped)} cores may run at {most / 1e6:.2f} GHz only, of {can / 1e6:.2f}",
            "if heat does it, add a fan; else undo the cap: for f in "
            '/sys/devices/system/cpu/cpu*/cpufreq; do sudo sh -c "cat $f/cpuinfo_max_freq > '
            '$f/scaling_max_freq"; done',
        )
    elif not pi:
        yield ok("no core's clock is capped")


def _flags(machine: Machine) -> Iterator[Finding]:
    told = machine.ask("vcgencmd", "get_throttled")
    text = machine.text(_FLAGS)
    if told is not None and told.status:
        yield warn(
            f"vcgencmd may not ask the firmware: {(told.text.splitlines() or ['no message'])[-1]}",
            "sudo usermod -aG video $USER, then log in anew",
        )
    elif told is not None:
        text = told.text.partition("=")[2]
    if text is None:
        if told is None:
            yield warn(
                "vcgencmd is absent: nothing tells of under-voltage and throttling",
                "sudo apt install raspi-utils (libraspberrypi-bin on older systems); in a container add "
                "--device /dev/vcio",
            )
        return
    try:
        bits = int(text, 16)
    except ValueError:
        yield warn(f"get_throttled says {text!r}", "update the firmware: sudo apt full-upgrade")
        return
    if bits & 0x1:
        yield fail("under-voltage now: the cores are throttled and the card is at risk", _POWER)
    if bits & 0x4 or bits & 0x2:
        what = "throttled" if bits & 0x4 else "capped in frequency"
        yield fail(f"the cores are {what} now", f"{_COOL}; if it is not hot, {_POWER}")
    elif bits & 0x8:
        yield warn("the soft temperature limit holds the clocks down now", _COOL)
    if bits & 0x10000 and not bits & 0x1:
        yield warn("there was under-voltage since the start", _POWER)
    if bits & 0xE0000 and not bits & 0xE:
        yield warn(
            "the cores were throttled since the start", f"{_COOL}; a restart clears this flag"
        )
    if not bits & 0xF000F:
        yield ok("never throttled and no under-voltage since the start")


def _cap(machine: Machine, cpu: str) -> tuple[int, int] | None:
    """Frequencies in kHz that a core may run at and can run at, where the first is lower."""
    most = machine.number(f"{cpu}/cpufreq/scaling_max_freq")
    can = machine.number(f"{cpu}/cpufreq/cpuinfo_max_freq")
    return (most, can) if most and can and most < can else None
