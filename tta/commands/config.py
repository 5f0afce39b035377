"""``tta config``: look over a file of flags before a run is given it, or print one to begin with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from tta.alarm_arguments import policy
from tta.choice import AUTO
from tta.commands.run import flags
from tta.configuration import merged, missing, read
from tta.configuration_example import example
from tta.errors import TtaError

if TYPE_CHECKING:
    from tta.bundle import Bundle

HELP = "check a file of flags for tta run --config, or print one"


def arguments(p: argparse.ArgumentParser) -> None:
    """Its subcommands, each with what it may be told."""
    commands = p.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check", help="say all that is wrong with a file; nothing is opened"
    )
    check.add_argument("file")
    check.set_defaults(what=_check)
    commands.add_parser("example", help="print a file with every key").set_defaults(what=_example)


def command(given: argparse.Namespace) -> None:
    """Run it."""
    given.what(given)


def _example(given: argparse.Namespace) -> None:
    print(example(flags), end="")


def _check(given: argparse.Namespace) -> None:
    wrong = faults(given.file)
    for sentence in wrong:
        print(f"{given.file}: {sentence}", file=sys.stderr)
    if wrong:
        raise TtaError(f"{len(wrong)} to mend in {given.file}")
    print(f"{given.file}: tta run --config {given.file} would take it")


def faults(path: str) -> list[str]:
    """A sentence for all that is wrong with a file, as far as it shows before anything is opened.

    Raises:
        TtaError: there is none, or it is no TOML.
    """
    values, wrong = read(path, flags)
    run = merged({}, values, flags)
    wrong += missing(run, flags)
    found: dict[str, str] = {}  # one look may stumble over what another was made for
    for key, look in _looks(run):
        try:
            look()
        except TtaError as error:
            found.setdefault(str(error), key)
    return wrong + [f"{key}: {sentence}" for sentence, key in found.items()]


def _looks(run: argparse.Namespace) -> list[tuple[str, Callable[[], object]]]:
    """What a run does with its keys before the first frame; no source, sink or session is opened."""
    from tta.bundle import Bundle
    from tta.devices.recognition import resolve
    from tta.runtime.buffer import make_buffer
    from tta.runtime.gate import Gate
    from tta.runtime.regime import Duty
    from tta.runtime.sink_uri import parted
    from tta.runtime.source_uri import open_source
    from tta.runtime.store import check_target, load_state

    looks: list[tuple[str, Callable[[], object]]] = [("state", partial(_one_beginning, run))]
    looks += [("source", partial(open_source, uri)) for uri in run.source or []]
    looks += [("sink", partial(parted, text)) for text in run.sink or []]
    looks += [
        ("device", partial(resolve, run.device)),
        ("drift", partial(policy, run)),
    ]
    if run.duty is not None:
        looks.append(("duty", partial(Duty, run.duty)))
    try:
        bundle = Bundle(run.bundle or "")
    except TtaError:
        unread = [("bundle", partial(Bundle, run.bundle))] if run.bundle else []
        return [*looks, *unread, ("adapter", partial(_fits, run)), _serving(run)]
    looks.append(("adapter", partial(_fits, run, bundle)))
    if run.buffer != AUTO:
        made = partial(make_buffer, run.buffer, run.batch, bundle.manifest, bool(run.every))
        looks.append(("buffer", made))
    looks.append(
        ("quarantine", partial(Gate, run.quarantine, bundle.manifest, bundle.calibration()))
    )
    if run.state:
        looks.append(("state", partial(load_state, run.state, bundle)))
    if run.save_state:
        looks.append(("save_state", partial(check_target, run.save_state)))
    return [*looks, _serving(run)]


def _serving(run: argparse.Namespace) -> tuple[str, Callable[[], object]]:
    from tta.runtime.regime import check_serving

    stream = {name: getattr(run, name) for name in ("buffer", "every", "commit_s")}
    return "serve", partial(check_serving, run.serve, run.adapt, run.duty, stream)


def _one_beginning(run: argparse.Namespace) -> None:
    """Refuse two states to begin with, and one file for the states of several streams."""
    if run.state and run.state_dir:
        raise TtaError("state and state_dir both say what to begin with: leave one of them out")
    if run.save_state and len(run.source or []) > 1:
        raise TtaError("save_state keeps the state of one stream: name one source, or state_dir")


def _fits(run: argparse.Namespace, bundle: Bundle | None = None) -> None:
    """Refuse a method that there is not, or that the bundle has no graphs for."""
    from tta.runtime.method import check_needs, make_adapter

    if run.adapter == AUTO:
        return
    method = make_adapter(run.adapter)
    if bundle is not None:
        check_needs(method, bundle)
    if run.every and not hasattr(method, "observe"):
        raise TtaError(
            f"every needs a method that learns from statistics alone, not {run.adapter!r}"
        )
