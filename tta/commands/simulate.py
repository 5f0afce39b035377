"""``tta simulate``: what a shift does, and what adaptation buys."""

from __future__ import annotations

import argparse

from tta.arguments import whole
from tta.governor import MODES

HELP = "what a shift does, and what adaptation buys"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("bundle")
    p.add_argument("source", help="sim://cifar10?corruption=fog&schedule=gradual, or any source")
    p.add_argument(
        "--adapter",
        default="auto",
        help="name?option=value, or auto, as tta run (default auto)",
    )
    p.add_argument("--buffer", default="auto", metavar="NAME", help="as tta run")
    p.add_argument(
        "--out", metavar="DIR", help="folder for timeline.png, .html, JSON lines, summary"
    )
    p.add_argument("--batch", type=whole(1), default=16, help="frames a step (default 16)")
    p.add_argument("--governor", choices=MODES, default="auto")
    p.add_argument("--threads", type=whole(1), default=1, help="inference threads (default 1)")
    p.add_argument("--window", type=whole(1), help="frames behind each point of the error curve")
    p.add_argument("--limit", type=whole(1), help="frames at most")


def command(given: argparse.Namespace) -> None:
    """Run it."""
    from tta.evaluation.simulate import simulate as run_simulation

    run_simulation(
        given.bundle,
        given.source,
        given.adapter,
        given.out,
        batch=given.batch,
        buffer=given.buffer,
        governor=given.governor,
        threads=given.threads,
        window=given.window,
        limit=given.limit,
    )
