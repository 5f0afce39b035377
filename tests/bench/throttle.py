"""A board that is throttled to 40 % and comes back: ``python -m tests.bench.throttle BUNDLE DATA.npz``.

A child answers a live source of ``--fps`` frames a second and adapts beside it. After ``--phase`` seconds its
parent lets it run for 2 ms of every 5 only (SIGSTOP, SIGCONT), as a quota of the kernel does, and after as
long again at full speed. Printed by phase, with the budget keeper and without: frames answered as a share of
those that came, milliseconds of adaptation a second, and after how many seconds of the last phase adaptation
is again what it was in the first. The data has ``images`` and is looped; make them drift, or nothing adapts.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np

from tta.records import Array, Frame, Result
from tta.runtime.budget_keeper import BudgetKeeper
from tta.runtime.loop import run

RUNS_S, STOPS_S = 0.002, 0.003


class Paced:
    """A live source: frames come at their time, and the newest is handed over."""

    live, errors = True, 0

    def __init__(self, images: Array, fps: float, seconds: float) -> None:
        self._images, self._fps, self._seconds = images, fps, seconds

    def __enter__(self) -> Paced:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __iter__(self) -> Iterator[Frame]:
        began, last = time.monotonic(), -1
        while (now := time.monotonic() - began) < self._seconds:
            newest = int(now * self._fps)
            if newest == last:
                time.sleep(max(0.0, (newest + 1) / self._fps - now))
                continue
            last = newest
            yield Frame(self._images[newest % len(self._images)], now, newest, "paced")


class Tally:
    """Says every second what was answered and what adaptation took."""

    def __init__(self, keeper: BudgetKeeper | None) -> None:
        self._keeper, self._second, self._streams = keeper, 0, []

    def attach(self, streams: list) -> None:
        """Whose counts they are."""
        self._streams = streams

    def write(self, result: Result) -> None:
        """A line for each second that is over."""
        if int(result.frame.t_s) > self._second:
            self._second = int(result.frame.t_s)
            counts = self._streams[0].counts
            level = self._keeper.level if self._keeper else 1.0
            told = [self._second, counts.frames, counts.missed, counts.adapt_s, level]
            print(json.dumps(told), flush=True)

    def close(self) -> None:
        """Nothing to let go."""


def child(given: argparse.Namespace) -> None:
    """The run."""
    with np.load(given.data) as data:
        images = data["images"]
    keeper = BudgetKeeper(given.share) if given.keeper else None
    beside = {"beside": keeper.beside} if keeper else {}
    source = Paced(images, given.fps, 3 * given.phase)
    run(given.bundle, source, "auto", Tally(keeper), quarantine="none", **beside)  # type: ignore[arg-type]


def parent(given: argparse.Namespace, keeper: bool) -> list[list[float]]:
    """The child's lines, while it is throttled in the middle."""
    command = [sys.executable, "-m", "tests.bench.throttle", given.bundle, given.data, "--child"]
    command += ["--fps", str(given.fps), "--phase", str(given.phase), "--share", str(given.share)]
    process = subprocess.Popen(
        [*command, *["--keeper"] * keeper], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline())]
    began = time.monotonic() - lines[0][0]
    while time.monotonic() - began < given.phase:
        time.sleep(0.01)
    while time.monotonic() - began < 2 * given.phase:
        process.send_signal(signal.SIGSTOP)
        time.sleep(STOPS_S)
        process.send_signal(signal.SIGCONT)
        time.sleep(RUNS_S)
    lines += [json.loads(line) for line in process.stdout]
    process.wait()
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle")
    parser.add_argument("data")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--phase", type=int, default=25, help="seconds of each of the three")
    parser.add_argument("--share", type=float, default=0.2, help="budget of adaptation")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--keeper", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given)
        return
    print(
        "| | phase | answered, of those that came | adaptation, ms/s | level |\n|---|---|---|---|---|"
    )
    for keeper in (True, False):
        rows, who = np.array(parent(given, keeper)), "keeper" if keeper else "no keeper"
        means = []
        for k, name in enumerate(("free", "40 %", "free again")):
            inside = rows[
                (rows[:, 0] > k * given.phase + 1) & (rows[:, 0] <= (k + 1) * given.phase)
            ]
            seconds, frames, missed, took, _ = inside[-1] - inside[0]
            means.append(1e3 * took / seconds)
            level = inside[:, 4]
            print(f"| {who} | {name} | {100 * frames / (frames + missed):.1f} % | {means[-1]:.0f} | "
                  f"{level.min():.2f} to {level.max():.2f} |", flush=True)  # fmt: skip
        last = rows[rows[:, 0] > 2 * given.phase]
        rate = np.diff(last[:, 3])
        again = next((int(s) for s, r in zip(last[1:, 0], rate) if 1e3 * r > 0.8 * means[0]), None)
        when = "never" if again is None else f"{again - 2 * given.phase} s"
        print(f"| {who} | as before after | {when} | | |", flush=True)


if __name__ == "__main__":
    main()
