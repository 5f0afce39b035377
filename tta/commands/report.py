"""``tta report``: tables and plots of a results folder, made again."""

from __future__ import annotations

import argparse

HELP = "tables and plots of a results folder, made again"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("folder", help="what tta evaluate wrote")


def command(given: argparse.Namespace) -> None:
    """Run it."""
    from tta.evaluation.report import report_command

    report_command(given.folder)
