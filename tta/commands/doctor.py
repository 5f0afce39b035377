"""``tta doctor``: what is wrong with this machine, and what cures it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from tta.devices.examination import examine
from tta.devices.finding import Finding, Subject
from tta.devices.machine import Machine
from tta.devices.recognition import resolve
from tta.errors import TtaError

HELP = "what is wrong with this machine or bundle, and what cures it"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("bundle", nargs="?", help="a bundle to try on each provider")
    p.add_argument(
        "--device", default="auto", help="device profile (default auto: the board itself)"
    )
    p.add_argument("--json", action="store_true", help="the findings as JSON")


def command(given: argparse.Namespace) -> None:
    """Run it; a finding of level fail makes the exit status 1."""
    machine = Machine()
    profile, recognised = resolve(given.device, machine)
    subject = Subject(machine, profile, recognised, given.bundle)
    found = list(examination(subject))
    failed = [name for name, finding in found if finding.level == "fail"]
    if given.json:
        report = {
            "device": profile.name,
            "board": recognised.board,
            "recognised_by": recognised.how,
            "findings": [{"check": name, **finding.to_dict()} for name, finding in found],
            "traps": list(profile.traps),
            "failed": len(failed),
        }
        print(json.dumps(report, indent=2))
    else:
        for name, finding in found:
            print(line(name, finding))
        for trap in profile.traps:
            print(f"{'trap':5}{profile.name}: {trap}")
    if failed:
        one = len(failed) == 1
        raise TtaError(
            f"{len(failed)} finding{' is' if one else 's are'} at level fail "
            f"({', '.join(dict.fromkeys(failed))}): the cures are beside {'it' if one else 'them'}"
        )


def examination(subject: Subject) -> Iterator[tuple[str, Finding]]:
    """All checks: of the machine, then of onnxruntime and the bundle where the packages load."""
    broken = False
    for name, finding in examine("tta.devices.doctor", subject):
        broken |= finding.level == "fail" and name in ("python", "packages")
        yield name, finding
    if broken:  # importing them here would end the doctor, or the process
        yield (
            "bundle",
            Finding(
                "warn",
                "providers and bundle were not examined: they need the packages above",
                "cure python and packages first, then run tta doctor again",
            ),
        )
        return
    yield from examine("tta.runtime.doctor", subject)


def line(name: str, finding: Finding) -> str:
    """A finding for people, the cure on a line of its own.

    >>> print(line("disk", Finding("fail", "3 MiB free: the disk is full", "sudo apt clean")))
    fail disk        3 MiB free: the disk is full
                     -> sudo apt clean
    """
    text = f"{finding.level:5}{name:12}{finding.fact}"
    return f"{text}\n{'':17}-> {finding.cure}" if finding.cure else text
