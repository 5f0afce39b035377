"""``tta evaluate``: judge methods under protocols, on labelled data."""

from __future__ import annotations

import argparse

from tta.arguments import whole
from tta.governor import MODES

HELP = "judge methods under protocols, on labelled data"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("bundle")
    p.add_argument(
        "data", help="labelled data as after sim://: cifar10, imagenet, fashion, a folder, …"
    )
    p.add_argument(
        "--adapter",
        help="methods, or all (default bn_stats,tent,nhl; for a task without class scores bn_stats,actmad)",
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
        "--buffer",
        default="auto",
        metavar="NAME",
        help="with --serve stream, the frames that a step is on, as tta run (default auto)",
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


def command(given: argparse.Namespace) -> None:
    """Run it."""
    from tta.evaluation.matrix import matrix

    matrix(
        given.bundle,
        given.data,
        adapters=given.adapter,
        protocols=given.protocol,
        batches=given.batch,
        seeds=given.seed,
        corruptions=given.corruptions,
        severity=given.severity,
        tier=given.tier,
        limit=given.limit,
        post=given.post,
        serve=given.serve,
        governor=given.governor,
        buffer=given.buffer,
        skip_unfit=given.skip_unfit,
        keep_probabilities=given.keep_probabilities,
        out=given.out,
        jobs=given.jobs,
        backend=given.backend,
        as_json=given.json,
    )
