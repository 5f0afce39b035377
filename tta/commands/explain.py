"""``tta explain``: where in the input the last steps came from."""

from __future__ import annotations

import argparse

from tta.arguments import whole
from tta.governor import MODES

HELP = "where in the input the last steps came from"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("bundle", help="one that was exported with --explain")
    p.add_argument("source", help="as for tta run")
    p.add_argument("--adapter", default="nhl", help="name?option=value (default nhl)")
    p.add_argument("--steps", type=whole(1), default=1, help="of the last ones (default 1)")
    p.add_argument(
        "--out", default="explained", metavar="DIR", help="folder of the files (default explained)"
    )
    p.add_argument("--batch", type=whole(1), default=16, help="frames a step (default 16)")
    p.add_argument("--governor", choices=MODES, default="auto")
    p.add_argument("--threads", type=whole(1), default=1, help="inference threads (default 1)")
    p.add_argument("--limit", type=whole(1), help="frames at most")


def command(given: argparse.Namespace) -> None:
    """Run it."""
    from tta.explanation.command import explain_command

    explain_command(given)
