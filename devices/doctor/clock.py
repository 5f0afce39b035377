"""The clock: boards without a battery begin in the past, and jump when the network tells them the time."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tta.devices.finding import Finding, Subject, fail, ok, warn

EARLIEST_S = 1_735_689_600.0  # 2025-01-01, before this software
_WATCHED_S, _JUMP_S = 0.05, 0.02
_MARKS = ("/var/lib/systemd/timesync/clock", "/etc/fake-hwclock.data")  # times that once were now
_SYNC = "sudo timedatectl set-ntp true"


def check(subject: Subject) -> Iterator[Finding]:
    """Right, told by somebody, and going evenly."""
    machine = subject.machine
    first = machine.wall(), machine.steady()
    time.sleep(_WATCHED_S)
    now, later = machine.wall(), machine.steady()
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    if now < EARLIEST_S:
        yield fail(
            f"the clock says {shown}: logs and states would be dated wrong, and TLS fails",
            f"{_SYNC}, or without a network sudo date -s 'YYYY-MM-DD hh:mm'; a battery keeps it",
        )
        return
    jump = (now - first[0]) - (later - first[1])
    if abs(jump) > _JUMP_S:
        yield warn(
            f"the clock jumped by {jump:+.2f} s while it was watched",
            "wait until it is set: timedatectl show -p NTPSynchronized",
        )
        return
    for mark in _MARKS:
        try:
            past = machine.at(mark).stat().st_mtime
        except OSError:
            continue
        if now < past - 60:
            yield fail(
                f"the clock says {shown}, {(past - now) / 3600:.1f} hours before {mark} was written",
                f"{_SYNC}, or without a network sudo date -s 'YYYY-MM-DD hh:mm'",
            )
            return
    told = machine.ask("timedatectl", "show", "-p", "NTPSynchronized", "--value")
    synchronised = machine.exists("/run/systemd/timesync/synchronized")
    if not synchronised and told is not None and not told.status:
        synchronised = told.text == "yes"
    if synchronised:
        yield ok(f"{shown}, synchronised")
    elif told is None or told.status:
        yield ok(f"{shown}; nothing here says whether it is synchronised")
    else:
        battery = "" if machine.exists("/dev/rtc0") else ", and there is no battery clock"
        yield warn(
            f"{shown}, not synchronised{battery}: it will jump when it is",
            f"{_SYNC}; tta times frames by a clock that does not jump, logs carry this one",
        )
