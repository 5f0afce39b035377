"""The command ``tta``: finds its subcommands in ``tta/commands``, and says what went wrong in a sentence."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from tta import __version__, commands, registry
from tta.errors import TtaError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 refused with a sentence, 130 interrupted."""
    # onnxruntime's wheels collect usage in ~/.cache/Microsoft, to be uploaded; 0 before the command allows it
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    given = _parser().parse_args(arguments)
    try:
        given.command(given)
        sys.stdout.flush()
    except TtaError as error:
        print(f"tta: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has left, as with | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # it flushes again at exit
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tta", description="Models that adapt on the device, online, without labels."
    )
    parser.add_argument("--version", action="version", version=f"tta {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in registry.modules(commands.__name__).items():
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            _set_aside(subparsers.add_parser(name, help=f"cannot load: {error}"), name, error)
            continue
        one = subparsers.add_parser(name, help=found.HELP)
        found.arguments(one)
        one.set_defaults(command=found.command)
    return parser


def _set_aside(parser: argparse.ArgumentParser, name: str, error: ImportError) -> None:
    """A command whose packages do not load says so when it is called; the others work."""

    def refuse(given: argparse.Namespace) -> None:
        raise TtaError(f"tta {name} cannot load ({error}): tta doctor says what cures it")

    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(command=refuse)
