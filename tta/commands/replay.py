"""``tta replay``: run a full recording again, and compare."""

from __future__ import annotations

import argparse

HELP = "run a full recording again, and name the first frame that differs"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("recording", help="folder of tta run --record DIR --record-choose all")
    p.add_argument("--bundle", help="where it is now, if elsewhere")


def command(given: argparse.Namespace) -> None:
    """Run it."""
    from tta.runtime.replay_command import replay_command

    replay_command(given)
