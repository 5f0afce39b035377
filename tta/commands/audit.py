"""``tta audit``: which input channels a model relies on."""

from __future__ import annotations

import argparse

from tta.arguments import whole

HELP = "which input channels a model relies on"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("bundle")
    p.add_argument("data", help="a source with labels: npz://…, sim://…")
    p.add_argument("--channels", default="", help="names of the channels, ax,ay,az")
    p.add_argument("--groups", default="", help="more groups, accel=ax+ay+az,gyro=wx+wy+wz")
    p.add_argument("--grid", type=whole(1), default=0, help="cut pictures into N x N parts as well")
    p.add_argument("--repeats", type=whole(1), default=3, help="permutations a figure (default 3)")
    p.add_argument("--seed", type=whole(0), default=0, help="of the permutations (default 0)")
    p.add_argument("--limit", type=whole(1), help="frames at most")
    p.add_argument("--threads", type=whole(1), default=1, help="inference threads (default 1)")
    p.add_argument("--no-keep", action="store_true", help="do not write audit.json into the bundle")


def command(given: argparse.Namespace) -> None:
    """Run it."""
    from tta.evaluation.audit import audit as run_audit

    run_audit(
        given.bundle,
        given.data,
        channels=given.channels,
        groups=given.groups,
        grid=given.grid,
        repeats=given.repeats,
        seed=given.seed,
        limit=given.limit,
        threads=given.threads,
        kept=not given.no_keep,
    )
