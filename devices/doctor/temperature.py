"""How hot it is, against where this board slows down.

The kernel's own trip points (``passive``, ``critical``) count where a zone has them, else the profile's.
"""

from __future__ import annotations

from collections.abc import Iterator

from tta.devices.finding import Finding, Subject, fail, ok, warn
from tta.devices.machine import Machine

NEAR_C = 5.0  # below the point where clocks fall
_HIGHEST_C = 150.0
_COOL = (
    "add a heat sink or a fan, free the vents, lower the ambient temperature; meanwhile --duty 0.05"
)


def check(subject: Subject) -> Iterator[Finding]:
    """The hottest zone."""
    machine, limits = subject.machine, subject.profile.thermal
    zones = readings(machine)
    if not zones:
        if limits is None:
            yield ok("no temperature sensor here")
        else:
            yield warn(
                "no temperature is readable under /sys/class/thermal",
                "in a container mount /sys read-only (-v /sys:/sys:ro); elsewhere look at sudo dmesg | grep "
                "thermal: without it heat shows up as slow frames only",
            )
        return
    zone, name, hottest = max(zones, key=lambda z: z[2])
    trips = _trips(machine, zone)
    throttle = trips.get("passive", limits.throttle_c if limits else None)
    limit = trips.get("critical", limits.limit_c if limits else None)
    fact = f"{name} {hottest:.0f} °C"
    if throttle is None:
        yield ok(fact)
    elif limit is not None and hottest >= limit:
        yield fail(f"{fact}: at the board's limit of {limit:g} °C", f"stop the load; {_COOL}")
    elif hottest >= throttle:
        yield fail(f"{fact}: clocks fall from {throttle:g} °C on", _COOL)
    elif hottest >= throttle - NEAR_C:
        yield warn(f"{fact}: close to {throttle:g} °C, from where clocks fall", _COOL)
    else:
        yield ok(f"{fact}, clocks fall from {throttle:g} °C on")


def readings(machine: Machine) -> list[tuple[str, str, float]]:
    """Folder, name and temperature in °C of each thermal zone that says something plausible."""
    found = []
    for zone in machine.found("/sys/class/thermal/thermal_zone*"):
        value = machine.number(f"{zone}/temp")
        if value is not None and 0 < value / 1000 < _HIGHEST_C:
            found.append((zone, machine.text(f"{zone}/type") or "zone", value / 1000))
    return found


def _trips(machine: Machine, zone: str) -> dict[str, float]:
    """The lowest trip point of each type in °C."""
    found: dict[str, float] = {}
    for path in machine.found(f"{zone}/trip_point_*_type"):
        kind, value = machine.text(path), machine.number(path.removesuffix("type") + "temp")
        if kind and value is not None and 0 < value / 1000 < _HIGHEST_C:
            found[kind] = min(value / 1000, found.get(kind, _HIGHEST_C))
    return found
