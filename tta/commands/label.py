"""``tta label``: a person labels the recorded frames that tell most."""

from __future__ import annotations

import argparse

from tta.arguments import whole

HELP = "label the recorded frames that tell most"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("bundle")
    p.add_argument("recording", help="folder of tta run --record")
    p.add_argument("--stream", help="folder of the stream, where there are several")
    p.add_argument("--count", type=whole(1), default=20, help="frames to offer (default 20)")
    p.add_argument(
        "--canaries",
        metavar="DIR",
        help="folder that tta run --canaries takes (default: canaries in the recording)",
    )
    p.add_argument("--answers", metavar="CSV", help="columns frame and answer, instead of asking")
    p.add_argument("--list", action="store_true", help="print the frames as CSV, and ask nothing")
    p.add_argument("--pictures", metavar="DIR", help="write each frame as PNG there")
    p.add_argument(
        "--tolerance", metavar="A,B", help="error that is right in a regression, by output"
    )
    p.add_argument("--seed", type=whole(0), default=0, help="of the draw (default 0)")


def command(given: argparse.Namespace) -> None:
    """Run it."""
    from tta.runtime.label_command import label_command

    label_command(given)
