"""Arguments of the commands that take many: ``export``, ``bench``, ``evaluate``, ``serial``."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from tta.alarm_arguments import add_export_arguments
from tta.governor import MODES


def export_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of ``tta export``."""
    p.add_argument(
        "factory",
        help="pkg.mod:factory; the call returns (model, example) or (model, example, options), "
        "options being keyword arguments of tta.export.to_bundle",
    )
    p.add_argument("-o", "--output", required=True, help="folder to write, NAME.tta by custom")
    p.add_argument("--samples", help="npz of preprocessed source samples (N, ...) for calibration")
    p.add_argument("--labels", help="class names: a file with one a line, or a,b,c")
    p.add_argument(
        "--canaries",
        metavar="NPZ",
        help="labelled frames that adaptation must not unlearn: preprocessed x, y[, severity minor or major]",
    )
    p.add_argument(
        "--preprocess", help="JSON file that says how a frame becomes the input, or none"
    )
    p.add_argument("--hebbian", help="layers that become Hebbian, a,b; 'none' for none")
    p.add_argument(
        "--layers",
        help="norm layers that adapt: all (default), stem, last:N, names a,b, or auto (most drift a ms)",
    )
    p.add_argument(
        "--constant-statistics",
        action="store_true",
        help="gradients take batch statistics for constants: a faster step, no longer exact",
    )
    p.add_argument(
        "--recompute",
        action="store_true",
        help="a step computes every second norm's input again: less memory, more time",
    )
    p.add_argument(
        "--objectives",
        help="step graphs to build (default entropy,nhl); others: actmad, pseudo_label, slr, z_loss",
    )
    p.add_argument(
        "--explain",
        action="store_true",
        help="graphs for tta explain as well: where in the input a step came from",
    )
    p.add_argument(
        "--ep",
        help="how slots reach a provider: refold, inputs or affine; cpu:refold,tensorrt:affine",
    )
    p.add_argument("--overwrite", action="store_true", help="replace an existing bundle")
    p.add_argument("--checks", action="store_true", help="print every check")
    add_export_arguments(p)


def bench_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of ``tta bench``."""
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


def evaluate_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of ``tta evaluate``; lists are joined by commas."""
    p.add_argument("bundle")
    p.add_argument(
        "data", help="labelled data as after sim://: cifar10, imagenet, fashion, a folder, …"
    )
    p.add_argument(
        "--adapter", default="bn_stats,tent,nhl", help="methods, or all (default bn_stats,tent,nhl)"
    )
    p.add_argument("--protocol", default="reset", help="protocols, or all (default reset)")
    p.add_argument("--batch", default="200", help="frames a step (default 200)")
    p.add_argument("--seed", default="0", help="seeds of order and chance (default 0)")
    p.add_argument("--corruptions", default="all", help="names (default all fifteen standard ones)")
    p.add_argument("--severity", type=whole(1), default=5, help="the largest, 1 to 5 (default 5)")
    p.add_argument(
        "--tier",
        default="smoke",
        help="smoke: 2,000 items, seldom twice; full: all (default smoke)",
    )
    p.add_argument("--limit", type=whole(1), help="items of the data, instead of a tier")
    p.add_argument("--post", action="store_true", help="also the answers after each update")
    p.add_argument(
        "--serve",
        choices=("batch", "stream"),
        default="batch",
        help="answer whole batches, or each frame at once by what was committed (default batch)",
    )
    p.add_argument(
        "--governor",
        choices=MODES,
        default="always",
        help="adapt on every batch, where the governor lets it, or never (default always)",
    )
    p.add_argument(
        "--skip-unfit", action="store_true", help="leave out and list what cannot run here"
    )
    p.add_argument(
        "--keep-probabilities",
        action="store_true",
        help="keep those of the source model even where they take more than 16 MiB a corruption",
    )
    p.add_argument("--out", default="evaluation", help="folder of the results (default evaluation)")
    p.add_argument("--jobs", type=whole(1), default=1, help="processes (default 1)")
    p.add_argument("--backend", help="joblib backend by name, such as loky or dask")
    p.add_argument("--json", metavar="FILE", help="write the table as JSON")


def explain_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of ``tta explain``."""
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


def serial_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of ``tta serial``; ``what`` is the subcommand."""
    commands = p.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("list", help="the ports there are").set_defaults(what="list")
    for name, text in (
        ("monitor", "print what a device says"),
        ("hello", "who is there: firmware, channels, norm"),
        ("bench", "rate, losses, round trip and clock of our firmware"),
    ):
        one = commands.add_parser(name, help=text)
        one.add_argument("port", help="device or pyserial URL, as in serial://")
        one.add_argument("--baud", type=whole(1), default=115200, help="default 115200")
        if name != "hello":
            one.add_argument("--seconds", type=whole(1), help="how long (bench: 10)")
        one.set_defaults(what=name)


def whole(least: int) -> Callable[[str], int]:
    """Reads a whole number of at least so much."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {least}, but is {text!r}"
            )
        return int(text)

    return read
