"""The command ``tta``: export, inspect, run, demo, bench, serial, state."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from tta import __version__
from tta.errors import TtaError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 refused with a sentence, 130 interrupted."""
    given = _parser().parse_args(arguments)
    try:
        given.action(given)
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
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _export(commands.add_parser("export", help="make a bundle from a torch model"))
    _inspect(commands.add_parser("inspect", help="say what a bundle holds"))
    _run(commands.add_parser("run", help="stream a source through a bundle that adapts"))
    _demo(commands.add_parser("demo", help="watch a shipped model adapt, offline, in a minute"))
    _bench(commands.add_parser("bench", help="what a bundle costs here, against plain onnxruntime"))
    _serial(commands.add_parser("serial", help="look at microcontrollers on serial ports"))
    _state(commands.add_parser("state", help="look at adapted states, or write them as ONNX"))
    return parser


def _export(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "factory",
        help="pkg.mod:factory; the call returns (model, example) or (model, example, options), "
        "options being keyword arguments of tta.export.to_bundle",
    )
    p.add_argument("-o", "--output", required=True, help="folder to write, NAME.tta by custom")
    p.add_argument("--samples", help="npz of preprocessed source samples (N, ...) for calibration")
    p.add_argument("--labels", help="class names: a file with one a line, or a,b,c")
    p.add_argument(
        "--preprocess", help="JSON file that says how a frame becomes the input, or none"
    )
    p.add_argument("--hebbian", help="layers that become Hebbian, a,b; 'none' for none")
    p.add_argument("--objectives", help="step graphs to build (default entropy,nhl)")
    p.add_argument("--overwrite", action="store_true", help="replace an existing bundle")
    p.add_argument("--checks", action="store_true", help="print every check")
    p.set_defaults(action=export)


def export(given: argparse.Namespace) -> None:
    """``tta export``."""
    from tta.export.command import export_command

    export_command(given)


def _inspect(p: argparse.ArgumentParser) -> None:
    p.add_argument("bundle")
    p.add_argument("--json", action="store_true", help="the manifest itself")
    p.set_defaults(action=inspect)


def inspect(given: argparse.Namespace) -> None:
    """``tta inspect``."""
    from tta.bundle import Bundle
    from tta.inspection import describe

    bundle = Bundle(given.bundle)
    print(bundle.manifest.to_json() if given.json else describe(bundle), end="")


def _run(p: argparse.ArgumentParser) -> None:
    p.add_argument("bundle")
    p.add_argument("source", nargs="+", help="dir://…, npz://…, file://…, serial://…, 0 (camera)")
    p.add_argument("--adapter", default="nhl", help="name?option=value (default nhl)")
    p.add_argument("--sink", action="append", help="stdout, jsonl:FILE, null; may be repeated")
    p.add_argument("--batch", type=_whole(1), default=16, help="frames a step (default 16)")
    p.add_argument("--serve", choices=("stream", "batch"), default="stream")
    p.add_argument("--governor", choices=("auto", "always", "off"), default="auto")
    p.add_argument("--threads", type=_whole(1), help="inference threads (default: the device's)")
    p.add_argument("--device", default="desktop", help="device profile (default desktop)")
    p.add_argument("--limit", type=_whole(1), help="frames a source at most")
    p.add_argument("--state", help="adapted state to start from")
    p.add_argument("--save-state", help="file for the state at the end")
    p.set_defaults(action=run)


def run(given: argparse.Namespace) -> None:
    """``tta run``."""
    from tta.bundle import Bundle
    from tta.devices.board import load
    from tta.runtime.loop import run as run_loop
    from tta.runtime.store import check_target, load_state, save_state

    profile = load(given.device)
    bundle = Bundle(given.bundle)
    state = load_state(given.state, bundle) if given.state else None
    if given.save_state and len(given.source) > 1:
        raise TtaError("--save-state keeps the state of one stream: name one source")
    if given.save_state:
        check_target(given.save_state)
    streams = run_loop(
        bundle,
        given.source,
        given.adapter,
        given.sink or ["stdout"],
        serve=given.serve,
        threads=given.threads or profile.threads.inference,
        limit=given.limit,
        batch=given.batch,
        governor=given.governor,
        state=state,
    )
    for stream in streams:
        counts = stream.counts
        name = f"{stream.name}: " if stream.name else ""
        print(
            f"{name}{counts.frames} frames ({counts.skipped} skipped), {counts.commits} commits, "
            f"{counts.holds} holds, {counts.resets} returns to the source, "
            f"{counts.rollbacks} rolled back; state {stream.serving} at step {stream.current.step}",
            file=sys.stderr,
        )
        if counts.unreadable:
            lost = f"{name}{counts.unreadable} readings were no frames, the last: {counts.last_unreadable}"
            print(lost, file=sys.stderr)
    if given.save_state:
        save_state(given.save_state, streams[0].current, bundle)
    for stream in streams:
        if 0 < stream.counts.frames == stream.counts.skipped:
            raise TtaError(f"no frame could be used, the last because {stream.complaint}")


def _demo(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", metavar="FILE", help="write the figures as JSON")
    p.add_argument("--adapter", default="nhl", help="name?option=value (default nhl)")
    p.add_argument("--seed", type=_whole(0), default=0, help="of the stream (default 0)")
    p.add_argument("--frames", type=_whole(1), default=2000, help="frames a segment (at most 2000)")
    p.add_argument("--batch", type=_whole(1), default=16, help="frames a step (default 16)")
    p.add_argument("--sensor", action="store_true", help="a board without hardware, and its sensor")
    p.add_argument("--board", help="with --sensor: mps2 (a Cortex-M3 in QEMU), posix or python")
    p.set_defaults(action=demo)


def demo(given: argparse.Namespace) -> None:
    """``tta demo``."""
    if given.sensor:
        from tta.demo.sensor import demo as sensor

        sensor(given.adapter, given.seed, given.board, given.json)
        return
    from tta.demo.show import demo as show

    show(given.adapter, given.seed, given.frames, given.batch, given.json)


def _bench(p: argparse.ArgumentParser) -> None:
    p.add_argument("bundle")
    p.add_argument("--adapter", default="nhl", help="name?option=value (default nhl)")
    p.add_argument("--batch", type=_whole(1), default=16, help="frames a step (default 16)")
    p.add_argument("--frames", type=_whole(1), default=320, help="frames a candidate (default 320)")
    p.add_argument("--threads", type=_whole(1), default=1, help="threads a session (default 1)")
    p.add_argument("--json", metavar="FILE", help="write the figures as JSON")
    p.set_defaults(action=bench)


def bench(given: argparse.Namespace) -> None:
    """``tta bench``."""
    import json
    from pathlib import Path

    from tta.bundle import Bundle
    from tta.runtime.bench import COLUMNS
    from tta.runtime.bench import bench as measure
    from tta.terminal import Terminal

    if given.json and not Path(given.json).resolve().parent.is_dir():
        raise TtaError(f"cannot write {given.json}: there is no folder {Path(given.json).parent}")
    found = measure(Bundle(given.bundle), given.adapter, given.batch, given.frames, given.threads)
    terminal = Terminal()
    title = f"{found.bundle}, {found.frames} frames, {found.threads} threads, one after the other"
    terminal.table(title, COLUMNS, found.rows())
    graphs = ", ".join(f"{name} {ms:.1f}" for name, ms in found.graphs_ms.items())
    terminal.say(f"graphs on a batch of {found.batch}, ms: {graphs}")
    terminal.say(
        f"{found.adapter}: {found.steps} steps, {found.commits} commits in {found.frames} frames; "
        f"{found.step_ms:.1f} ms a step in all, {found.commit_ms:.1f} ms of it the commit; frames per second "
        f"with every frame learned from: {found.throughput:.2f} of plain"
    )
    memory = ", ".join(f"{name} {mib:.0f}" for name, mib in found.rss_mib.items())
    terminal.say(f"resident MiB: {memory}; cold start to first answer {found.cold_start_s:.2f} s")
    if given.json:
        Path(given.json).write_text(json.dumps(found.to_dict(), indent=2) + "\n", encoding="utf-8")


def _serial(p: argparse.ArgumentParser) -> None:
    commands = p.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("list", help="the ports there are").set_defaults(action=serial, what="list")
    for name, text in (
        ("monitor", "print what a device says"),
        ("hello", "who is there: firmware, channels, norm"),
        ("bench", "rate, losses, round trip and clock of our firmware"),
    ):
        one = commands.add_parser(name, help=text)
        one.add_argument("port", help="device or pyserial URL, as in serial://")
        one.add_argument("--baud", type=_whole(1), default=115200, help="default 115200")
        if name != "hello":
            one.add_argument("--seconds", type=_whole(1), help="how long (bench: 10)")
        one.set_defaults(action=serial, what=name)


def serial(given: argparse.Namespace) -> None:
    """``tta serial``."""
    from tta import serial_tools

    if given.what == "list":
        serial_tools.list_ports()
    elif given.what == "hello":
        serial_tools.hello(given.port, given.baud)
    else:
        getattr(serial_tools, given.what)(given.port, given.baud, given.seconds)


def _state(p: argparse.ArgumentParser) -> None:
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


def _whole(least: int) -> Callable[[str], int]:
    """Reads a whole number of at least so much."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {least}, but is {text!r}"
            )
        return int(text)

    return read
