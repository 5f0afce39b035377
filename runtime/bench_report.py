"""What a bench is to measure, and what it found: settings, tables, figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tta.bundle import Bundle

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
        commit_s: seconds between two commits of the sampling candidate.
        paced_commit_s: the same for the paced one.
        steps: steps that are timed.
        starts: processes whose start is timed, beside torch.
        swaps: sessions swapped for the memory figures.
        fps, load, cpus, pace_s: a paced run; no fps, none.
        vs: ``pkg.mod:factory`` of the same model for eager torch, empty for none.
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


def label(bundle: Bundle, k: int) -> str:
    """Short name of the k-th bundle, that of its folder."""
    return bundle.path.name.removesuffix(".tta") or f"other {k + 1}"
