"""The command ``tta``, and its subcommands but for what they do."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from tta import __version__
from tta.alarm_arguments import add_run_arguments, policy, told
from tta.arguments import (
    bench_arguments,
    evaluate_arguments,
    explain_arguments,
    export_arguments,
    serial_arguments,
    whole,
)
from tta.errors import TtaError
from tta.governor import MODES
from tta.label_arguments import record_arguments
from tta.log_command import log_arguments
from tta.manifest import PROFILES
from tta.state_tools import state_arguments


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
    made = commands.add_parser("export", help="make a bundle from a torch model")
    export_arguments(made)
    made.set_defaults(action=export)
    _inspect(commands.add_parser("inspect", help="say what a bundle holds"))
    _run(commands.add_parser("run", help="stream a source through a bundle that adapts"))
    _simulate(commands.add_parser("simulate", help="what a shift does, and what adaptation buys"))
    _audit(commands.add_parser("audit", help="which input channels a model relies on"))
    told_why = commands.add_parser("explain", help="where in the input the last steps came from")
    explain_arguments(told_why)
    told_why.set_defaults(action=explain)
    judged = commands.add_parser("evaluate", help="judge methods under protocols, on labelled data")
    evaluate_arguments(judged)
    judged.set_defaults(action=evaluate)
    again = commands.add_parser("report", help="tables and plots of a results folder, made again")
    again.add_argument("folder", help="what tta evaluate wrote")
    again.set_defaults(action=report)
    _demo(commands.add_parser("demo", help="watch a shipped model adapt, offline, in a minute"))
    measured = commands.add_parser(
        "bench", help="what a bundle costs here, against plain onnxruntime"
    )
    bench_arguments(measured)
    measured.set_defaults(action=bench)
    ports = commands.add_parser("serial", help="look at microcontrollers on serial ports")
    serial_arguments(ports)
    ports.set_defaults(action=serial)
    log_arguments(commands.add_parser("log", help="read the audit log of a run"))
    state_arguments(
        commands.add_parser("state", help="look at adapted states, or write them as ONNX")
    )
    return parser


def export(given: argparse.Namespace) -> None:
    """``tta export``."""
    from tta.export.command import export_command

    export_command(given)


def _inspect(p: argparse.ArgumentParser) -> None:
    p.add_argument("bundle")
    p.add_argument("--json", action="store_true", help="the manifest itself")
    p.add_argument("--diagram", metavar="FILE", help="draw it as SVG (needs the extra export)")
    p.set_defaults(action=inspect)


def inspect(given: argparse.Namespace) -> None:
    """``tta inspect``."""
    from tta.bundle import Bundle
    from tta.inspection import describe

    bundle = Bundle(given.bundle)
    if given.diagram:
        from tta.inspection import draw

        print(f"{draw(bundle, given.diagram)}: {bundle.manifest.name} as a diagram")
        return
    print(bundle.manifest.to_json() if given.json else describe(bundle), end="")


def _run(p: argparse.ArgumentParser) -> None:
    p.add_argument("bundle")
    p.add_argument("source", nargs="+", help="dir://…, npz://…, file://…, serial://…, 0 (camera)")
    p.add_argument("--adapter", default="nhl", help="name?option=value (default nhl)")
    p.add_argument("--sink", action="append", help="stdout, jsonl:FILE, null; may be repeated")
    p.add_argument("--batch", type=whole(1), default=16, help="frames a step (default 16)")
    p.add_argument(
        "--buffer",
        default="batch",
        metavar="NAME",
        help="frames that a step is on: batch (default), window?size=16, reservoir?capacity=64, reliable",
    )
    p.add_argument("--serve", choices=("stream", "batch"), default="stream")
    p.add_argument("--governor", choices=MODES, default="auto")
    p.add_argument("--threads", type=whole(1), help="inference threads (default: the device's)")
    p.add_argument("--device", default="desktop", help="device profile (default desktop)")
    p.add_argument(
        "--adapt",
        choices=("auto", "inline", "worker"),
        default="auto",
        help="inline in the frame loop, or a worker beside it (auto: files inline, live by the device)",
    )
    p.add_argument(
        "--duty", type=float, metavar="D", help="share of the time for inline adaptation"
    )
    p.add_argument(
        "--every", type=whole(1), default=0, metavar="K", help="learn from every K-th frame"
    )
    p.add_argument(
        "--commit-s",
        type=float,
        default=0.0,
        metavar="T",
        help="seconds between two commits at least",
    )
    p.add_argument("--provider", action="append", help="cpu, cuda, tensorrt, ...; may be repeated")
    p.add_argument("--ep-profile", choices=PROFILES, help="how slots reach the served session")
    p.add_argument("--memory-mib", type=whole(1), help="memory that the process may have")
    p.add_argument("--limit", type=whole(1), help="frames a source at most")
    p.add_argument("--state", help="adapted state to start from")
    p.add_argument("--save-state", help="file for the state at the end")
    p.add_argument("--log", metavar="PATH", help="audit log of decisions, read by tta log")
    p.add_argument(
        "--log-mib", type=whole(1), default=64, metavar="N", help="its size at most (default 64)"
    )
    p.add_argument(
        "--state-dir", metavar="DIR", help="keep the states there durably, and begin with the last"
    )
    p.add_argument(
        "--durable-s", type=float, default=60.0, metavar="T", help="at most so often (default 60)"
    )
    record_arguments(p)
    add_run_arguments(p)
    p.set_defaults(action=run)


def run(given: argparse.Namespace) -> None:
    """``tta run``."""
    from tta.bundle import Bundle
    from tta.devices.board import load
    from tta.runtime.keepers import keepers
    from tta.runtime.loop import run as run_loop
    from tta.runtime.memory import settle_allocator
    from tta.runtime.provider import model_options
    from tta.runtime.store import check_target, load_state, save_state

    settle_allocator()
    alarms = policy(given)
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
        [*(given.sink or ["stdout"]), *keepers(given)],
        serve=given.serve,
        threads=given.threads or profile.threads.inference,
        limit=given.limit,
        adapt=given.adapt,
        duty=given.duty,
        budget=profile.budget.adapt_ms_per_s / 1e3 if profile.adapt == "inline" else None,
        model=model_options(given, profile, bundle.manifest),
        batch=given.batch,
        buffer=given.buffer,
        governor=given.governor,
        state=state,
        every=given.every,
        commit_s=given.commit_s,
        alarms=alarms,
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
        for what, n in (
            ("frames waited in vain for a round", counts.dropped),
            ("proposals came too late", counts.stale),
            (f"rounds failed, the last: {stream.complaint}", counts.failures),
        ):
            if n:
                print(f"{name}{n} {what}", file=sys.stderr)
        for line in told(stream.monitor.watch):
            print(f"{name}{line}", file=sys.stderr)
        if counts.unreadable:
            lost = f"{name}{counts.unreadable} readings were no frames, the last: {counts.last_unreadable}"
            print(lost, file=sys.stderr)
    if given.save_state:
        save_state(given.save_state, streams[0].current, bundle)
    for stream in streams:
        if 0 < stream.counts.frames == stream.counts.skipped:
            raise TtaError(f"no frame could be used, the last because {stream.complaint}")


def _simulate(p: argparse.ArgumentParser) -> None:
    p.add_argument("bundle")
    p.add_argument("source", help="sim://cifar10?corruption=fog&schedule=gradual, or any source")
    p.add_argument("--adapter", default="nhl", help="name?option=value (default nhl)")
    p.add_argument(
        "--out", metavar="DIR", help="folder for timeline.png, .html, JSON lines, summary"
    )
    p.add_argument("--batch", type=whole(1), default=16, help="frames a step (default 16)")
    p.add_argument("--governor", choices=MODES, default="auto")
    p.add_argument("--threads", type=whole(1), default=1, help="inference threads (default 1)")
    p.add_argument("--window", type=whole(1), help="frames behind each point of the error curve")
    p.add_argument("--limit", type=whole(1), help="frames at most")
    p.set_defaults(action=simulate)


def simulate(given: argparse.Namespace) -> None:
    """``tta simulate``."""
    from tta.evaluation.simulate import simulate as run_simulation

    run_simulation(
        given.bundle,
        given.source,
        given.adapter,
        given.out,
        batch=given.batch,
        governor=given.governor,
        threads=given.threads,
        window=given.window,
        limit=given.limit,
    )


def _audit(p: argparse.ArgumentParser) -> None:
    p.add_argument("bundle")
    p.add_argument("data", help="a source with labels: npz://…, sim://…")
    p.add_argument("--channels", default="", help="names of the channels, ax,ay,az")
    p.add_argument("--groups", default="", help="more groups, accel=ax+ay+az,gyro=wx+wy+wz")
    p.add_argument("--grid", type=whole(1), default=0, help="cut pictures into N x N parts as well")
    p.add_argument("--repeats", type=whole(1), default=3, help="permutations a figure (default 3)")
    p.add_argument("--seed", type=whole(0), default=0, help="of the permutations (default 0)")
    p.add_argument("--limit", type=whole(1), help="frames at most")
    p.add_argument("--threads", type=whole(1), default=1, help="inference threads (default 1)")
    p.add_argument("--no-keep", action="store_true", help="do not write audit.json into the bundle")
    p.set_defaults(action=audit)


def audit(given: argparse.Namespace) -> None:
    """``tta audit``."""
    from tta.evaluation.audit import audit as run_audit

    run_audit(
        given.bundle,
        given.data,
        channels=given.channels,
        groups=given.groups,
        grid=given.grid,
        repeats=given.repeats,
        seed=given.seed,
        limit=given.limit,
        threads=given.threads,
        kept=not given.no_keep,
    )


def explain(given: argparse.Namespace) -> None:
    """``tta explain``."""
    from tta.explanation.command import explain_command

    explain_command(given)


def evaluate(given: argparse.Namespace) -> None:
    """``tta evaluate``."""
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
        skip_unfit=given.skip_unfit,
        keep_probabilities=given.keep_probabilities,
        out=given.out,
        jobs=given.jobs,
        backend=given.backend,
        as_json=given.json,
    )


def report(given: argparse.Namespace) -> None:
    """``tta report``."""
    from tta.evaluation.report import report_command

    report_command(given.folder)


def _demo(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", metavar="FILE", help="write the figures as JSON")
    p.add_argument("--out", metavar="DIR", help="save pictures there; needs the extra sim")
    p.add_argument("--adapter", default="nhl", help="name?option=value (default nhl)")
    p.add_argument("--seed", type=whole(0), default=0, help="of the stream (default 0)")
    p.add_argument("--frames", type=whole(1), help="frames a segment (at most 2000, the default)")
    p.add_argument("--batch", type=whole(1), help="frames a step (default 16)")
    p.add_argument("--sensor", action="store_true", help="a board without hardware, and its sensor")
    p.add_argument("--board", help="with --sensor: mps2 (a Cortex-M3 in QEMU), posix or python")
    p.set_defaults(action=demo)


def demo(given: argparse.Namespace) -> None:
    """``tta demo``."""
    if given.board and not given.sensor:
        raise TtaError("--board is the board of the sensor's demo: add --sensor")
    if given.sensor:
        unfit = [f"--{name}" for name in ("out", "frames", "batch") if getattr(given, name)]
        if unfit:
            raise TtaError(f"the sensor's demo has no {' and no '.join(unfit)}: leave it out")
        from tta.demo.sensor import demo as sensor

        sensor(given.adapter, given.seed, given.board, given.json)
        return
    from tta.demo.show import demo as show

    frames, batch = given.frames or 2000, given.batch or 16
    if given.out is None:
        show(given.adapter, given.seed, frames, batch, given.json)
        return
    from tta.evaluation.demo_pictures import DemoPictures

    pictures = DemoPictures(given.out, given.adapter, given.seed)
    show(given.adapter, given.seed, frames, batch, given.json, watch=pictures.take)
    print(*pictures.save(), sep="\n")


def bench(given: argparse.Namespace) -> None:
    """``tta bench``."""
    from tta.runtime.bench_command import bench_command

    bench_command(given)


def serial(given: argparse.Namespace) -> None:
    """``tta serial``."""
    from tta import serial_tools

    if given.what == "list":
        serial_tools.list_ports()
    elif given.what == "hello":
        serial_tools.hello(given.port, given.baud)
    else:
        getattr(serial_tools, given.what)(given.port, given.baud, given.seconds)
