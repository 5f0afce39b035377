"""The command line's words about recordings."""

from __future__ import annotations

import argparse

from tta.arguments import whole, written_path


def record_arguments(p: argparse.ArgumentParser) -> None:
    """What ``tta run`` may be told of recording."""
    group = p.add_argument_group("recording, off by default")
    group.add_argument(
        "--record", type=written_path, metavar="DIR", help="keep a sample of the frames there"
    )
    group.add_argument(
        "--record-keep", type=whole(1), default=256, metavar="N", help="a stream (default 256)"
    )
    group.add_argument(
        "--record-choose",
        choices=("uniform", "last", "all"),
        default="uniform",
        help="an even sample of the stream so far (default), the newest frames, or all for tta replay",
    )
    group.add_argument(
        "--record-mib", type=whole(1), default=1024, metavar="M", help="all at most (default 1024)"
    )
