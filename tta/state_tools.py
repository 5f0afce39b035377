"""``tta state``: what a state file holds, and the adapted model as plain ONNX."""

from __future__ import annotations

import argparse


def state_arguments(p: argparse.ArgumentParser) -> None:
    """The subcommands of ``tta state``."""
    commands = p.add_subparsers(required=True, metavar="COMMAND")
    show = commands.add_parser("show", help="what a state file holds")
    show.add_argument("bundle")
    show.add_argument("state")
    show.set_defaults(action=state_show)
    out = commands.add_parser("export", help="write the adapted model as a plain ONNX file")
    out.add_argument("bundle")
    out.add_argument("state", nargs="?", help="state file; without one, the source model")
    out.add_argument("--onnx", required=True, metavar="FILE", help="file to write")
    out.set_defaults(action=state_export)


def state_show(given: argparse.Namespace) -> None:
    """``tta state show``."""
    from tta.bundle import Bundle
    from tta.inspection import describe_state
    from tta.runtime.store import load_state

    bundle = Bundle(given.bundle)
    print(describe_state(bundle, load_state(given.state, bundle)), end="")


def state_export(given: argparse.Namespace) -> None:
    """``tta state export``."""
    from tta.bundle import Bundle
    from tta.runtime.fold import fold
    from tta.runtime.store import load_state

    bundle = Bundle(given.bundle)
    state = load_state(given.state, bundle) if given.state else None
    written = fold(bundle, state, given.onnx)
    what = f"state at step {state.step}" if state else "source model"
    print(f"{written}: {what}, {written.stat().st_size / 1e6:.2f} MB, plain ONNX")
