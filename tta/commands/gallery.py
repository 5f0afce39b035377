"""``tta gallery``: whether stored embeddings are still valid for a changed model."""

from __future__ import annotations

import argparse

from tta.arguments import whole

HELP = "whether stored embeddings are valid for a changed model, and their repair"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("bundle", help="the embedder that asks now")
    p.add_argument("data", help=".npz with images or windows and labels, or what sim:// takes")
    p.add_argument("--old", help="bundle of the model that made the gallery (default the same one)")
    p.add_argument("--state", help="adapted state of the embedder that asks now")
    p.add_argument("--limit", type=whole(4), help="frames at most")
    p.add_argument("--out", metavar="FILE", help="write the rotation from the new space to the old")


def command(given: argparse.Namespace) -> None:
    """Run it."""
    from tta.evaluation.gallery_check import gallery_command

    gallery_command(
        given.bundle,
        given.data,
        old=given.old,
        state=given.state,
        limit=given.limit,
        out=given.out,
    )
