"""The command line's words about drift: budget, frame rate, detector, calibration."""

from __future__ import annotations

import argparse

from tta import registry
from tta.budget import Budget
from tta.errors import TtaError
from tta.watch import WARM_UP, AlarmPolicy, Watch


def add_run_arguments(p: argparse.ArgumentParser) -> None:
    """What ``tta run`` may be told."""
    group = p.add_argument_group("drift detection")
    group.add_argument(
        "--false-alarms", help="tolerable: 1/week, 2/day, 1/5000 frames (default the bundle's)"
    )
    group.add_argument("--fps", type=float, help="frames a second, for a budget in time")
    group.add_argument("--detector", default="cusum", help="name, or my.mod:Class (default cusum)")
    group.add_argument(
        "--correlation-time", type=float, metavar="S", help="assumed correlation time"
    )
    group.add_argument(
        "--warm-up",
        type=int,
        default=WARM_UP,
        metavar="FRAMES",
        help="frames that show the site; 0 for none",
    )


def add_export_arguments(p: argparse.ArgumentParser) -> None:
    """What ``tta export`` may be told."""
    group = p.add_argument_group(
        "drift detection, calibrated on --samples (labels or targets beside them)"
    )
    group.add_argument("--false-alarms", default="1/day", help="default budget (default 1/day)")
    group.add_argument("--fps", type=float, default=30.0, help="default frame rate (default 30)")
    group.add_argument(
        "--ordered", action="store_true", help="the samples are frames of a clip, in order"
    )
    group.add_argument(
        "--correlation-time",
        type=float,
        default=1.0,
        metavar="S",
        help="assumed where not ordered (1 s)",
    )
    group.add_argument(
        "--kinds", action="store_true", help="learn kinds of shifts from simulated faults (minutes)"
    )
    group.add_argument("--detectors", default="cusum,page_hinkley", help="detectors to calibrate")


def policy(given: argparse.Namespace) -> AlarmPolicy:
    """The policy that the arguments ask for.

    Raises:
        TtaError: a malformed budget, or one in time without a frame rate.
        NotFoundError: no detector of that name.
    """
    budget = Budget.parse(given.false_alarms) if given.false_alarms else None
    if given.fps is not None and not 0 < given.fps < 1e6:
        raise TtaError(f"--fps is above zero, but is {given.fps:g}")
    if given.warm_up < 0:
        raise TtaError(f"--warm-up is a number of frames, 0 for none, but is {given.warm_up}")
    if given.correlation_time is not None and not given.correlation_time > 0:
        raise TtaError(f"--correlation-time is above zero, but is {given.correlation_time:g}")
    if budget is not None:
        budget.per_frame(given.fps)
    registry.load("tta.detectors", given.detector)
    return AlarmPolicy(budget, given.fps, given.detector, given.correlation_time, given.warm_up)


def told(watch: Watch) -> list[str]:
    """Lines for people: what the watch has to say of itself."""
    return [f"drift: {note}" for note in watch.notes]
