"""``tta fit``: a regression's last layer learns from a few labelled frames, in closed form."""

from __future__ import annotations

import argparse

from tta.arguments import whole

HELP = "fit a regression's last layer to a few labelled frames"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("bundle")
    p.add_argument("data", help=".npz with images or windows and their targets, oldest first")
    p.add_argument("-o", "--out", required=True, help="file of the state")
    p.add_argument("--state", help="adapted state to fit on (default the source)")
    p.add_argument(
        "--learn", type=whole(1), help="frames to learn from; the others judge (default half)"
    )
    p.add_argument(
        "--spread", action="store_true", help="learn from evenly spaced frames, not from the first"
    )
    p.add_argument(
        "--forget", type=float, default=1.0, help="what a frame weighs against the next (1)"
    )
    p.add_argument(
        "--adapter", default="bn_stats", help="method that goes on from it (default bn_stats)"
    )


def command(given: argparse.Namespace) -> None:
    """Run it."""
    from tta.evaluation.head_fit import fit_command

    fit_command(
        given.bundle,
        given.data,
        given.out,
        state=given.state,
        learn=given.learn,
        spread=given.spread,
        forget=given.forget,
        adapter=given.adapter,
    )
