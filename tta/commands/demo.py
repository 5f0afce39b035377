"""``tta demo``: watch a shipped model adapt, offline, in a minute."""

from __future__ import annotations

import argparse

from tta.arguments import whole
from tta.errors import TtaError

HELP = "watch a shipped model adapt, offline, in a minute"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("--json", metavar="FILE", help="write the figures as JSON")
    p.add_argument("--out", metavar="DIR", help="save pictures there; needs the extra sim")
    p.add_argument(
        "--adapter",
        help="name?option=value, or auto, as tta run (default auto; of the sensor's demo nhl)",
    )
    p.add_argument("--seed", type=whole(0), default=0, help="of the stream (default 0)")
    p.add_argument("--frames", type=whole(1), help="frames a segment (at most 2000, the default)")
    p.add_argument("--batch", type=whole(1), help="frames a step (default 16)")
    p.add_argument("--sensor", action="store_true", help="a board without hardware, and its sensor")
    p.add_argument("--board", help="with --sensor: mps2 (a Cortex-M3 in QEMU), posix or python")


def command(given: argparse.Namespace) -> None:
    """Run it."""
    if given.board and not given.sensor:
        raise TtaError("--board is the board of the sensor's demo: add --sensor")
    if given.sensor:
        unfit = [f"--{name}" for name in ("out", "frames", "batch") if getattr(given, name)]
        if unfit:
            raise TtaError(f"the sensor's demo has no {' and no '.join(unfit)}: leave it out")
        from tta.demo.sensor import demo as sensor

        sensor(given.adapter or "nhl", given.seed, given.board, given.json)
        return
    from tta.demo.show import demo as show

    adapter = given.adapter or "auto"
    frames, batch = given.frames or 2000, given.batch or 16
    if given.out is None:
        show(adapter, given.seed, frames, batch, given.json)
        return
    from tta.evaluation.demo_pictures import DemoPictures

    pictures = DemoPictures(given.out, adapter, given.seed)
    show(adapter, given.seed, frames, batch, given.json, watch=pictures.take)
    print(*pictures.save(), sep="\n")
