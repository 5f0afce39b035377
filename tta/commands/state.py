"""``tta state``: states on the disk, what they hold, and the adapted model as plain ONNX."""

from __future__ import annotations

import argparse

from tta.errors import StateError

HELP = "look at adapted states, or write them as ONNX"


def arguments(p: argparse.ArgumentParser) -> None:
    """Its subcommands, each with what it may be told."""
    commands = p.add_subparsers(required=True, metavar="COMMAND")
    show = commands.add_parser("show", help="what a state file holds")
    show.add_argument("bundle")
    show.add_argument("state")
    show.set_defaults(what=_show)
    listed = commands.add_parser("list", help="the durable states of tta run --state-dir")
    listed.add_argument("folder")
    listed.set_defaults(what=_list)
    compared = commands.add_parser("diff", help="what differs between two states, by slot")
    compared.add_argument("bundle")
    compared.add_argument("state")
    compared.add_argument("other", help="a second state file")
    compared.set_defaults(what=_diff)
    back = commands.add_parser(
        "restore", help="make an earlier state, or any, the next to begin with"
    )
    back.add_argument("bundle")
    back.add_argument("folder", help="of tta run --state-dir")
    back.add_argument("state", help="number of one there, or a state file")
    back.add_argument("--stream", default="stream", help="name of the stream, stream-0 of several")
    back.set_defaults(what=_restore)
    anew = commands.add_parser("reset", help="begin with the source model; earlier states stay")
    anew.add_argument("bundle")
    anew.add_argument("folder", help="of tta run --state-dir")
    anew.add_argument("--stream", default="stream", help="name of the stream, stream-0 of several")
    anew.set_defaults(what=_reset)
    out = commands.add_parser("export", help="write the adapted model as a plain ONNX file")
    out.add_argument("bundle")
    out.add_argument("state", nargs="?", help="state file; without one, the source model")
    out.add_argument("--onnx", required=True, metavar="FILE", help="file to write")
    out.set_defaults(what=_export)


def command(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    given.what(given)


def _show(given: argparse.Namespace) -> None:
    from tta.bundle import Bundle
    from tta.inspection import describe_state
    from tta.runtime.store import load_state

    bundle = Bundle(given.bundle)
    print(describe_state(bundle, load_state(given.state, bundle)), end="")


def _list(given: argparse.Namespace) -> None:
    from datetime import datetime

    from tta.runtime.durable import shelves
    from tta.runtime.store import read_metadata

    for shelf in shelves(given.folder):
        for path in reversed(shelf.files()):
            when = datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y-%m-%d %H:%M:%S")
            try:
                found = read_metadata(path)
            except StateError as error:
                print(f"{shelf.folder.name}  {int(path.stem):>6}  {when}  {error}")
                continue
            print(
                f"{shelf.folder.name}  {int(path.stem):>6}  {when}  {found['hash'][:12]}  "
                f"{found['adapter']} at step {found['step']}, bundle {found['bundle'][:12]}"
            )


def _diff(given: argparse.Namespace) -> None:
    import numpy as np

    from tta.bundle import Bundle
    from tta.runtime.store import load_state

    bundle = Bundle(given.bundle)
    one, other = load_state(given.state, bundle), load_state(given.other, bundle)
    print(f"{one.hash[:12]} at step {one.step} and {other.hash[:12]} at step {other.step}")
    if one.hash == other.hash:
        print("the same slots and memory")
    for kind in ("slots", "memory"):
        mine, theirs = getattr(one, kind), getattr(other, kind)
        for name in sorted({*mine, *theirs}):
            if name not in mine or name not in theirs:
                print(f"  {kind}/{name}: only in the {'first' if name in mine else 'second'}")
            elif not np.array_equal(mine[name], theirs[name]):
                base = float(np.linalg.norm(mine[name]))
                change = float(np.linalg.norm(np.subtract(theirs[name], mine[name], dtype=float)))
                print(
                    f"  {kind}/{name}: {f'{change / base:.2%}' if base else f'{change:.3g} from zero'}"
                )


def _restore(given: argparse.Namespace) -> None:
    from tta.bundle import Bundle
    from tta.runtime.durable import locked, numbered_path, shelves
    from tta.runtime.store import load_state

    bundle = Bundle(given.bundle)
    with locked(given.folder):
        (shelf,) = shelves(given.folder, given.stream)
        state = load_state(numbered_path(shelf, given.state), bundle)
        number = int(shelf.put(state, bundle).stem)
    print(f"{given.stream} begins with {state.hash[:12]} at step {state.step}, kept as {number}")


def _reset(given: argparse.Namespace) -> None:
    from tta.bundle import Bundle
    from tta.runtime.durable import locked, shelves

    bundle = Bundle(given.bundle)
    with locked(given.folder):
        (shelf,) = shelves(given.folder, given.stream)
        last, said = shelf.last(bundle)
        for sentence in said:
            print(sentence)
        if last is None:
            print(f"{given.stream} begins with the source model already")
            return
        # a restored state must be its method's, memory and all, so the files make way, none is lost
        moved = shelf.clear()
    print(f"{given.stream} begins with the source model; its {moved[0]} states are in {moved[1]}")


def _export(given: argparse.Namespace) -> None:
    from tta.bundle import Bundle
    from tta.runtime.fold import fold
    from tta.runtime.store import load_state

    bundle = Bundle(given.bundle)
    state = load_state(given.state, bundle) if given.state else None
    written = fold(bundle, state, given.onnx)
    what = f"state at step {state.step}" if state else "source model"
    print(f"{written}: {what}, {written.stat().st_size / 1e6:.2f} MB, plain ONNX")
