"""The body of ``tta bench``: from the command line's words to ``bench``, and its tables."""

from __future__ import annotations

import argparse
import importlib.util
import json
from dataclasses import fields
from pathlib import Path

from tta.bundle import Bundle
from tta.errors import MissingExtraError, TtaError
from tta.runtime.bench import Setting, bench
from tta.terminal import Terminal


def bench_command(given: argparse.Namespace) -> None:
    """Measure and print.

    Raises:
        TtaError: an option makes no sense, or a candidate could not run.
    """
    if given.json and not Path(given.json).resolve().parent.is_dir():
        raise TtaError(f"cannot write {given.json}: there is no folder {Path(given.json).parent}")
    if given.json and Path(given.json).is_dir():
        raise TtaError(f"cannot write {given.json}: it is a folder")
    if given.vs and given.vs[0] != "torch":
        raise TtaError(
            f"--vs compares with torch, as in --vs torch pkg.mod:factory, not {given.vs[0]!r}"
        )
    for module in ("torch", "onnxscript") if given.vs else ():
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError("export", "tta bench --vs torch", module)
    try:
        cpus = tuple(int(c) for c in given.cpus.split(","))
    except ValueError:
        raise TtaError(f"--cpus is a list of cores such as 0,1, but is {given.cpus!r}") from None
    bundle = Bundle(given.bundle)
    if given.adapter is None:
        given.adapter = usual(bundle, bool(given.vs))
    words = {
        f.name: getattr(given, f.name)
        for f in fields(Setting)
        if f.name not in ("vs", "cpus", "starts", "paced_commit_s")
    }
    setting = Setting(**words, cpus=cpus, vs=given.vs[1] if given.vs else "")
    found = bench(bundle, setting, [Bundle(path) for path in given.others])
    terminal = Terminal()
    for table in found.tables:
        terminal.table(table.title, table.columns, table.rows)
        if table.note:
            terminal.say(table.note)
    if given.json:
        Path(given.json).write_text(json.dumps(found.to_dict(), indent=2) + "\n", encoding="utf-8")


def usual(bundle: Bundle, vs: bool) -> str:
    """The adapter that is measured where none is named: ``nhl``, if the bundle and the rival have it."""
    provided = bundle.manifest.provides
    if "step/nhl" in provided and not vs:
        return "nhl"
    return "tent" if "step/entropy" in provided else "bn_stats"
