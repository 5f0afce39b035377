"""``tta bench``: what a bundle costs here, against plain onnxruntime."""

from __future__ import annotations

import argparse

from tta.arguments import whole

HELP = "what a bundle costs here, against plain onnxruntime"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("bundle")
    p.add_argument(
        "--with", dest="others", action="append", default=[], metavar="BUNDLE",
        help="another bundle of the same model, say with fewer layers; may be repeated",
    )  # fmt: skip
    p.add_argument(
        "--adapter",
        help="name?option=value (default nhl; tent with --vs, or where there is no step/nhl)",
    )
    p.add_argument("--batch", type=whole(1), default=16, help="frames a step (default 16)")
    p.add_argument("--rounds", type=whole(1), default=6, help="blocks a candidate (default 6)")
    p.add_argument("--frames", type=whole(1), default=0, help="frames a candidate at most")
    p.add_argument("--block-s", type=float, default=2.0, help="seconds a block (default 2)")
    p.add_argument(
        "--threads", type=whole(1), default=0, help="threads for 'all cores' (default: all)"
    )
    p.add_argument(
        "--duty", type=float, default=0.1, help="share of the time for inline rounds (default 0.1)"
    )
    p.add_argument(
        "--every", type=whole(0), default=8, help="frames a sample of statistics (default 8)"
    )
    p.add_argument(
        "--commit-s",
        type=float,
        default=15.0,
        help="seconds between commits of the sampling candidate at most (default 15)",
    )
    p.add_argument("--steps", type=whole(1), default=7, help="steps timed (default 7)")
    p.add_argument("--swaps", type=whole(1), default=20, help="swaps for memory (default 20)")
    p.add_argument(
        "--vs",
        nargs=2,
        metavar=("torch", "FACTORY"),
        help="torch pkg.mod:factory: eager torch beside",
    )
    p.add_argument(
        "--fps", type=float, default=0.0, help="a paced run at so many frames per second"
    )
    p.add_argument(
        "--load", type=float, default=0.7, help="share of the period taken (default 0.7)"
    )
    p.add_argument("--cpus", default="0", help="cores of the paced run (default 0)")
    p.add_argument("--pace-s", type=float, default=60.0, help="seconds of it (default 60)")
    p.add_argument("--json", metavar="FILE", help="write the figures as JSON")


def command(given: argparse.Namespace) -> None:
    """Run it."""
    from tta.runtime.bench_command import bench_command

    bench_command(given)
