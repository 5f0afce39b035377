"""What a bench is to measure, and what it found: settings, tables, figures."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tta.bundle import Bundle
from tta.errors import TtaError
from tta.runtime.method import check_coupling, check_needs, make_adapter

PLAIN, AGAIN = "plain", "plain (A/A)"


@dataclass(frozen=True)
class Setting:
    """What to measure.

    Attributes:
        adapter: ``name?option=value``; it adapts on every batch (governor ``always``).
        batch: frames a step.
        rounds: blocks that each candidate gets.
        frames: frames that each candidate answers at most, 0 for what fits into its blocks.
        block_s: seconds a block.
        threads: inference threads where inference may use all cores.
        duty: share of the time for inline adaptation.
        every: sampling of statistics, 0 for none.
        commit_s: seconds between two commits of the sampling candidate, fewer where its blocks are too
            short to see one.
        paced_commit_s: the same for the paced one.
        steps: steps that are timed.
        starts: processes whose start is timed, beside torch.
        swaps: sessions swapped for the memory figures.
        fps, load, cpus, pace_s: a paced run; no fps, none.
        vs: ``pkg.mod:factory`` of the same model for eager torch, empty for none.

    Raises:
        TtaError: a value that nothing can be measured with.
    """

    adapter: str = "nhl"
    batch: int = 16
    rounds: int = 6
    frames: int = 0
    block_s: float = 2.0
    threads: int = 0
    duty: float = 0.1
    every: int = 8
    commit_s: float = 15.0
    paced_commit_s: float = 7.5
    steps: int = 7
    starts: int = 3
    swaps: int = 20
    fps: float = 0.0
    load: float = 0.7
    cpus: tuple[int, ...] = ()
    pace_s: float = 60.0
    vs: str = ""

    def __post_init__(self) -> None:
        for option, ok, wanted in (
            ("--rounds", self.rounds >= 1, "at least 1"),
            ("--frames", self.frames >= 0, "at least 0"),
            ("--block-s", 0 < self.block_s < math.inf, "above 0 s"),
            ("--duty", 0 < self.duty <= 1, "a share of the time above 0 and at most 1"),
            ("--every", self.every >= 0, "at least 0"),
            ("--commit-s", 0 <= self.commit_s < math.inf, "at least 0 s"),
            ("--steps", self.steps >= 1, "at least 1"),
            ("--swaps", self.swaps >= 1, "at least 1"),
            ("--fps", 0 <= self.fps < math.inf, "above 0, or 0 for no paced run"),
            ("--load", 0 < self.load <= 1, "a share of the period above 0 and at most 1"),
            ("--pace-s", 0 < self.pace_s < math.inf, "above 0 s"),
        ):
            if not ok:
                value = getattr(self, option.strip("-").replace("-", "_"))
                raise TtaError(f"{option} is {wanted}, but is {value:g}")
        if 0 < self.fps * self.pace_s < 1:
            raise TtaError(
                f"--fps {self.fps:g} for --pace-s {self.pace_s:g} is less than one frame: raise one of them"
            )
        if self.fps and (gone := sorted(set(self.cpus) - usable())):
            raise TtaError(
                f"--cpus names core {gone[0]}, but this process may run on "
                f"{', '.join(map(str, sorted(usable())))}"
            )


def usable() -> set[int]:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


@dataclass
class Table:
    """One claim's figures: a title, columns, rows of texts."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


@dataclass
class Bench:
    """The figures of one run, by table and raw."""

    bundle: str
    setting: Setting
    tables: list[Table] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"bundle": self.bundle, "setting": asdict(self.setting), **self.figures}


def ours(bundle: Bundle, setting: Setting, **more: Any) -> dict[str, Any]:
    """A candidate's spec for this bundle."""
    path = str(bundle.path)
    return {
        "kind": "tta",
        "bundle": path,
        "adapter": setting.adapter,
        "batch": setting.batch,
        **more,
    }


def has_statistics(bundle: Bundle) -> bool:
    """Whether bn_stats has anything to follow."""
    return bool(bundle.manifest.named("mean"))


def fits(adapter: str, bundle: Bundle, batch: int) -> bool:
    """Whether that adapter can take a step on so many frames of this bundle, and has anything to do."""
    try:
        made = make_adapter(adapter)
        check_needs(made, bundle)
        check_coupling(made, bundle, batch)
    except TtaError:
        return False
    return adapter.partition("?")[0] != "bn_stats" or has_statistics(bundle)


def label(bundle: Bundle, k: int) -> str:
    """Short name of the k-th bundle, that of its folder."""
    return bundle.path.name.removesuffix(".tta") or f"other {k + 1}"
