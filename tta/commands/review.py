"""``tta review``: a person tags the mistakes among the labelled frames."""

from __future__ import annotations

import argparse

HELP = "tag the mistakes among the labelled frames"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("bundle")
    p.add_argument("recording", help="folder of tta run --record, after tta label")
    p.add_argument("--stream", help="folder of the stream, where there are several")
    p.add_argument(
        "--canaries",
        metavar="DIR",
        help="folder that tta run --canaries takes (default: canaries in the recording)",
    )
    p.add_argument("--answers", metavar="CSV", help="columns frame and tag, instead of asking")
    p.add_argument("--list", action="store_true", help="print the queue as CSV, and ask nothing")
    p.add_argument("--pictures", metavar="DIR", help="write each frame as PNG there")
    p.add_argument(
        "--tolerance", metavar="A,B", help="error that is right in a regression, by output"
    )


def command(given: argparse.Namespace) -> None:
    """Run it."""
    from tta.runtime.review_command import review_command

    review_command(given)
