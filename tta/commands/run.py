"""``tta run``: stream a source through a bundle that adapts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tta.alarm_arguments import add_run_arguments, policy, told
from tta.arguments import Located, number, path_at, read_path, whole, written_path
from tta.configuration import add_config, settled
from tta.errors import TtaError
from tta.governor import MODES
from tta.record_arguments import record_arguments
from tta.slot_profiles import PROFILES

if TYPE_CHECKING:
    from tta.runtime.steward import Steward

HELP = "stream a source through a bundle that adapts"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told, by itself or in a file."""
    flags(p)
    add_config(p)


def flags(p: argparse.ArgumentParser) -> None:
    """What may also be a key of the file."""
    p.add_argument("bundle", type=read_path)
    p.add_argument(
        "source",
        nargs="+",
        type=Located(_source_at),
        help="dir://…, npz://…, file://…, serial://…, 0 (camera)",
    )
    p.add_argument(
        "--adapter",
        default="auto",
        help="name?option=value, or auto: what suits the bundle (default auto)",
    )
    p.add_argument(
        "--sink",
        action="append",
        type=Located(_sink_at, written=True),
        help="stdout, jsonl:FILE, null; may be repeated",
    )
    p.add_argument("--batch", type=whole(1), default=16, help="frames a step (default 16)")
    p.add_argument(
        "--buffer",
        default="auto",
        metavar="NAME",
        help="frames that a step is on: batch, window?size=16, reservoir?capacity=64, reliable; or auto: "
        "batch for a method that is named, else what suits the task (default auto)",
    )
    p.add_argument("--serve", choices=("stream", "batch"), default="stream")
    p.add_argument("--governor", choices=MODES, default="auto")
    p.add_argument("--threads", type=whole(1), help="inference threads (default: the device's)")
    p.add_argument(
        "--device",
        default="auto",
        type=Located(_profile_at),
        help="device profile: rpi5, a .toml file, or auto: what this board is (default auto)",
    )
    p.add_argument(
        "--adapt",
        choices=("auto", "inline", "worker"),
        default="auto",
        help="inline in the frame loop, or a worker beside it (auto: files inline, live by the device)",
    )
    p.add_argument(
        "--duty",
        type=number(0, 1, above=True),
        metavar="D",
        help="share of the time for inline adaptation",
    )
    p.add_argument(
        "--every", type=whole(0), default=0, metavar="K", help="learn from every K-th frame"
    )
    p.add_argument(
        "--commit-s",
        type=number(0),
        default=0.0,
        metavar="T",
        help="seconds between two commits at least",
    )
    p.add_argument("--provider", action="append", help="cpu, cuda, tensorrt, ...; may be repeated")
    p.add_argument("--ep-profile", choices=PROFILES, help="how slots reach the served session")
    p.add_argument("--memory-mib", type=whole(1), help="memory that the process may have")
    p.add_argument("--limit", type=whole(1), help="frames a source at most")
    p.add_argument("--state", type=read_path, help="adapted state to start from")
    p.add_argument("--save-state", type=written_path, help="file for the state at the end")
    p.add_argument(
        "--canaries",
        type=read_path,
        metavar="DIR",
        help="labelled frames that no state may unlearn, a folder a stream, beside the bundle's",
    )
    p.add_argument(
        "--quarantine",
        default="default",
        metavar="RULES",
        help="frames that must not teach: default (all rules), none, or names a,b",
    )
    p.add_argument(
        "--log",
        type=written_path,
        metavar="PATH",
        help="audit log of decisions, read by tta log",
    )
    p.add_argument(
        "--log-mib", type=whole(1), default=64, metavar="N", help="its size at most (default 64)"
    )
    p.add_argument(
        "--state-dir",
        type=written_path,
        metavar="DIR",
        help="keep the states there durably, and begin with the last",
    )
    p.add_argument(
        "--durable-s",
        type=number(0),
        default=60.0,
        metavar="T",
        help="at most so often (default 60)",
    )
    record_arguments(p)
    add_run_arguments(p)


def command(given: argparse.Namespace) -> None:
    """Run it."""
    from tta.runtime.steward import Steward

    settings = settled(given, flags)
    again = partial(settled, given, flags) if settings.config else None
    with Steward(settings, again) as steward:
        try:
            _run(settings, steward)
        except KeyboardInterrupt:
            if not steward.stopped:
                raise
            print("stopped before the first frame", file=sys.stderr)


def _run(given: argparse.Namespace, steward: Steward) -> None:
    from tta.bundle import Bundle
    from tta.devices.doctor.temperature import readings
    from tta.devices.machine import Machine
    from tta.devices.recognition import resolve
    from tta.runtime.budget_keeper import BudgetKeeper
    from tta.runtime.keepers import keepers
    from tta.runtime.loop import run as run_loop
    from tta.runtime.memory import resident_mib, settle_allocator
    from tta.runtime.provider import model_options
    from tta.runtime.store import check_target, load_state, save_state

    settle_allocator()
    alarms = policy(given)
    profile, recognised = resolve(given.device)
    if not recognised.known:
        print(recognised.told, file=sys.stderr)
    bundle = Bundle(given.bundle)
    state = load_state(given.state, bundle) if given.state else None
    if given.save_state and len(given.source) > 1:
        raise TtaError("--save-state keeps the state of one stream: name one source")
    if given.save_state:
        check_target(given.save_state)
    steward.keepers = keepers(given)
    machine, heat = Machine(), profile.thermal
    keeper = BudgetKeeper(
        profile.budget.adapt_ms_per_s / 1e3,
        lambda: max((hot_c for _, _, hot_c in readings(machine)), default=None),
        heat.throttle_c if heat else None,
        resident_mib,
        given.memory_mib or profile.budget.memory_mib,
    )
    streams = run_loop(
        bundle,
        given.source,
        given.adapter,
        [*(given.sink or ["stdout"]), *steward.keepers],
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
        canaries=given.canaries,
        quarantine=given.quarantine,
        beside=_beside(steward.beside, keeper.beside),
    )
    if streams[0].chosen:
        print(f"auto took {streams[0].chosen}", file=sys.stderr)
    if keeper.lowered:
        yielded = f"adaptation yielded {keeper.lowered} times, the last because {keeper.why}"
        print(yielded, file=sys.stderr)
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
            (f"frames must not teach ({_by_rule(stream.gate.refused)})", counts.quarantined),
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
        if counts.last_undelivered:
            lost = f"{counts.undelivered:,} results did not reach {counts.last_undelivered}"
            print(f"{name}{lost}", file=sys.stderr)
    if given.save_state:
        save_state(given.save_state, streams[0].current, bundle)
    for stream in streams:
        if 0 < stream.counts.frames == stream.counts.skipped:
            raise TtaError(f"no frame could be used, the last because {stream.complaint}")
    missed = sum(stream.counts.undelivered for stream in streams if not stream.counts.live)
    if missed:
        raise TtaError(f"of what could have waited {missed:,} results are lost, see above")


def _beside(*parts: Callable[..., AbstractContextManager[object]]) -> Any:
    """All of them, entered in order."""

    @contextmanager
    def entered(*given: object) -> Iterator[None]:
        with ExitStack() as stack:
            for part in parts:
                stack.enter_context(part(*given))
            yield

    return entered


def _by_rule(refused: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in refused.items())


def _source_at(uri: str, folder: Path) -> str:
    from tta.runtime.located import source_at

    return source_at(uri, folder)


def _sink_at(text: str, folder: Path) -> str:
    from tta.runtime.located import sink_at

    return sink_at(text, folder)


def _profile_at(text: str, folder: Path) -> str:
    return path_at(text, folder) if text.endswith(".toml") else text
