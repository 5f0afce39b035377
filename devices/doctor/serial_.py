"""Serial ports: permissions, and programs that take them away."""

from __future__ import annotations

from collections.abc import Iterator

from tta.devices.finding import Finding, Subject, fail, ok, warn

_ADAPTERS = {"1a86": "CH340", "10c4": "CP210x", "0403": "FTDI"}  # by USB vendor
_PORTS = ("/dev/ttyACM*", "/dev/ttyUSB*", "/dev/serial0")


def check(subject: Subject) -> Iterator[Finding]:
    """One line a port; ModemManager, and the system's console on the pin header."""
    machine = subject.machine
    ports = [port for pattern in _PORTS for port in machine.found(pattern)]
    for port in ports:
        group = machine.group_of(port)
        if machine.may_use(port):
            yield ok(port)
        elif group.isdigit() or group in ("root", "tty", "?"):
            yield fail(
                f"{port} belongs to group {group}, and this user may not open it",
                f"sudo chgrp dialout {port} && sudo chmod 660 {port} && sudo usermod -aG dialout $USER, then "
                "log in anew",
            )
        else:
            yield fail(
                f"{port}: this user is not in group {group}",
                f"sudo usermod -aG {group} $USER, then log in anew",
            )
    if any("ttyACM" in port for port in ports) and _runs(subject, "ModemManager"):
        yield warn(
            "ModemManager runs, and talks to new /dev/ttyACM* as if they were modems",
            "sudo systemctl disable --now ModemManager",
        )
    plugged = {
        machine.text(path) or "" for path in machine.found("/sys/bus/usb/devices/*/idVendor")
    }
    taken = [name for vendor, name in _ADAPTERS.items() if vendor in plugged]
    if taken and not any("ttyUSB" in port for port in ports):
        braille = any(machine.found(f"{top}/udev/rules.d/*brltty*") for top in ("/lib", "/usr/lib"))
        who = ", and brltty is installed, which takes it for a Braille display" if braille else ""
        yield warn(
            f"a {taken[0]} adapter is plugged in but has no /dev/ttyUSB*{who}",
            "sudo apt remove brltty, then plug it in anew"
            if braille
            else "see sudo dmesg | tail while plugging it in; in a container add --device /dev/ttyUSB0",
        )
    console = (machine.text("/proc/cmdline") or "").split()
    if "/dev/serial0" in ports and any(
        word.startswith(("console=serial0", "console=ttyS0", "console=ttyAMA0")) for word in console
    ):
        yield warn(
            "the system's console is on /dev/serial0: it writes into what a board there sends",
            "sudo raspi-config nonint do_serial_cons 1, then sudo reboot",
        )


def _runs(subject: Subject, program: str) -> bool:
    machine = subject.machine
    return any(machine.text(path) == program for path in machine.found("/proc/[0-9]*/comm"))
