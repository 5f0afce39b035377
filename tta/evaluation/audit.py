"""``tta audit``: how much of a model's accuracy each input channel carries.

A group of channels is permuted jointly over the samples: each sample gets the group's readings of another
one, so they stay as they are distributed, but say nothing of the label any more. What accuracy falls to tells
what the model relies on; what it falls to with everything *but* the group permuted, what the group suffices
for (Shah et al., "The pitfalls of simplicity bias in neural networks", NeurIPS 2020, the S- and
Sᶜ-randomised accuracies of section 3; Breiman, "Random forests", 2001, section 10, for the permutation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.errors import FrameError, TtaError
from tta.evaluation.interval import block_of, interval
from tta.evaluation.side_by_side import WindowLabels
from tta.manifest import Manifest
from tta.records import Array
from tta.runtime.frame_array import affine
from tta.runtime.preprocess import build
from tta.runtime.redaction import redact
from tta.runtime.session import InferSession
from tta.runtime.source_uri import open_source
from tta.sensor_audit import Audit, Range, Reliance, keep
from tta.terminal import Terminal, plain_table

CHUNK = 64
FEWEST = 20  # labelled samples below which no figure means anything
ALL = "everything"
COLUMNS = ("reads", "permuted", "costs, points [95 %]", "dead", "alone")


@dataclass(frozen=True, slots=True)
class Group:
    """Numbers of a sample that belong together: a mask that broadcasts to it, and its channels, if any."""

    name: str
    mask: Array
    channels: tuple[int, ...] = ()


def measure(
    answers: Callable[[Array], Array],
    x: Array,
    labels: Array,
    groups: Sequence[Group],
    dead: Array | float = 0.0,
    *,
    repeats: int = 3,
    seed: int = 0,
) -> tuple[Range, tuple[Reliance, ...]]:
    """Accuracy, and what each group is worth.

    Args:
        answers: classes ``(n,)`` of inputs ``(n, ...)``.
        x: samples ``(N, ...)``.
        labels: their classes ``(N,)``.
        groups: what is permuted.
        dead: what a dead group reads; broadcasts to a sample.
        repeats: permutations that each figure is averaged over.
        seed: of the permutations.
    """
    rng = np.random.default_rng(seed)
    orders = [_derangement(len(x), rng) for _ in range(repeats)]

    def right(inputs: Array) -> Array:
        return np.asarray(answers(inputs) == labels, np.float64)

    def averaged(mask: Array) -> Array:
        runs = [right(np.where(mask, x[order], x)) for order in orders]
        return np.asarray(np.mean(runs, axis=0))

    whole = right(x)
    found = []
    for group in groups:
        permuted = averaged(group.mask)
        found.append(
            Reliance(
                group.name,
                group.channels,
                permuted=_range(permuted),
                drop=_range(whole - permuted),
                dead=_range(right(np.where(group.mask, np.asarray(dead, x.dtype), x))),
                alone=_range(averaged(~group.mask)),
            )
        )
    return _range(whole), tuple(found)


def audit(
    bundle: str,
    data: str,
    *,
    channels: str = "",
    groups: str = "",
    grid: int = 0,
    repeats: int = 3,
    seed: int = 0,
    limit: int | None = None,
    threads: int = 1,
    kept: bool = True,
    terminal: Terminal | None = None,
) -> Audit:
    """Measure a bundle on labelled data, print the table, and keep it in the bundle.

    Args:
        bundle: path of a classifier's bundle.
        data: URI of a source with labels.
        channels: names of the channels, ``ax,ay,az``; by default red, green, blue, or their numbers.
        groups: more groups, ``accelerometer=ax+ay+az,gyroscope=wx+wy+wz``.
        grid: cut pictures into so many parts a side, and measure each.
        repeats: permutations that each figure is averaged over.
        seed: of the permutations.
        limit: frames at most.
        threads: inference threads.
        kept: write the audit into the bundle.
        terminal: where to print.

    Raises:
        TtaError: no classifier, no labels, or a group that names no channel.
    """
    terminal = terminal or Terminal()
    opened = Bundle(bundle)
    manifest = opened.manifest
    if manifest.task != "classify":
        raise TtaError(
            f"an audit needs a classifier, but the task of {manifest.name} is {manifest.task}"
        )
    x, labels = samples(manifest, data, limit)
    chosen = make_groups(manifest, x.shape[1:], channels, groups, grid)
    session = InferSession(opened, threads=threads)

    def answers(inputs: Array) -> Array:
        parts = [inputs[k : k + CHUNK] for k in range(0, len(inputs), CHUNK)]
        return np.concatenate([session.run(part)[manifest.primary].argmax(-1) for part in parts])

    accuracy, found = measure(
        answers, x, labels, chosen, dead_input(manifest, x.shape[1:]), repeats=repeats, seed=seed
    )
    made = Audit(opened.hash, redact(data), len(x), repeats, seed, accuracy, found)
    title = f"{manifest.name} on {len(x)} labelled samples: accuracy {_share(accuracy)}"
    terminal.say(plain_table(title, COLUMNS, table(made)))
    terminal.say(
        "permuted: its readings are another sample's; dead: they are zero; alone: all others are permuted"
    )
    if kept:
        terminal.say(f"kept in {keep(bundle, made)}")
    return made


def table(made: Audit) -> list[tuple[str, ...]]:
    """Rows for a terminal, the most relied upon first."""
    rows: list[tuple[str, ...]] = []
    for g in sorted(made.groups, key=lambda group: -group.drop[0]):
        mean, low, high = g.drop
        cost = f"{100 * mean:+.1f}"
        if low is not None and high is not None:
            cost += f" [{100 * low:+.1f}, {100 * high:+.1f}]"
        rows.append((g.name, _share(g.permuted), cost, _share(g.dead), _share(g.alone)))
    return rows


def samples(manifest: Manifest, data: str, limit: int | None) -> tuple[Array, Array]:
    """Model inputs ``(N, ...)`` and classes ``(N,)`` of a labelled source.

    Raises:
        TtaError: fewer than ``FEWEST`` of them have a label.
    """
    preprocess, label_of = build(manifest.preprocess, manifest.input), WindowLabels(manifest)
    x: list[Array] = []
    labels: list[int] = []
    unlabelled = 0
    with open_source(data) as frames:
        for count, frame in enumerate(frames):
            if count == limit:
                break
            label = label_of(frame)
            try:
                made = preprocess(frame)
            except FrameError:
                continue
            if made is None:
                continue
            if label is None:
                unlabelled += 1
                continue
            x.append(made)
            labels.append(label)
    if len(x) < FEWEST:
        raise TtaError(
            f"an audit needs at least {FEWEST} labelled samples, but {redact(data)} gave {len(x)} "
            f"({unlabelled} without a label): take a source with labels, such as npz:// or sim://"
        )
    return np.stack(x), np.array(labels)


def make_groups(
    manifest: Manifest, shape: tuple[int, ...], channels: str = "", groups: str = "", grid: int = 0
) -> list[Group]:
    """Each channel, the named groups, the parts of the picture, and everything.

    Raises:
        TtaError: the names do not fit the channels.
    """
    count = shape[0]
    names = [name.strip() for name in channels.split(",")] if channels else _names(manifest, count)
    if len(names) != count or len(set(names)) != count:
        raise TtaError(f"--channels must name {count} channels, each once, but is {channels!r}")

    def of(name: str, members: Sequence[int]) -> Group:
        mask = np.zeros((count, *[1] * (len(shape) - 1)), bool)
        mask[list(members)] = True
        return Group(name, mask, tuple(members))

    out = [of(name, [k]) for k, name in enumerate(names)] if count > 1 else []
    for item in filter(None, groups.split(",")):
        title, _, members = item.partition("=")
        parts = [part.strip() for part in members.split("+")]
        if not title or any(part not in names for part in parts):
            raise TtaError(
                f"--groups is NAME=channel+channel,NAME=…, with channels {', '.join(names)}, but has {item!r}"
            )
        out.append(of(title.strip(), [names.index(part) for part in parts]))
    if grid and len(shape) != 3:
        raise TtaError(f"--grid cuts pictures, but a sample of this model has shape {shape}")
    for row in range(grid):
        for column in range(grid):
            mask = np.zeros((1, *shape[1:]), bool)
            height, width = (
                [round(k * side / grid) for k in range(grid + 1)] for side in shape[1:]
            )
            mask[0, height[row] : height[row + 1], width[column] : width[column + 1]] = True
            out.append(Group(f"row {row + 1}, column {column + 1}", mask))
    return [*out, of(ALL, range(count))]


def dead_input(manifest: Manifest, shape: tuple[int, ...]) -> Array:
    """What the model gets where a raw reading is zero: ``(C, 1, ...)``, (0·scale - mean) / std."""
    spec: Mapping[str, Any] = manifest.preprocess
    if spec.get("kind") == "none":
        return np.zeros((1,) * len(shape), np.float32)
    _, offset = affine(spec, shape[0])
    return np.asarray(offset, np.float32).reshape(-1, *[1] * (len(shape) - 1))


def _names(manifest: Manifest, count: int) -> list[str]:
    if manifest.preprocess.get("kind") == "image" and count == 3:
        return ["red", "green", "blue"]
    return [f"channel {k}" for k in range(count)]


def _derangement(n: int, rng: np.random.Generator) -> Array:
    """A permutation without a fixed point: a random cycle through all."""
    cycle = rng.permutation(n)
    order = np.empty(n, int)
    order[cycle] = np.roll(cycle, 1)
    return order


def _range(values: Array) -> Range:
    found = interval(values, block_of(len(values), 1))
    return found.mean, found.low, found.high


def _share(found: Range) -> str:
    return f"{100 * found[0]:.1f} %"


__all__ = [
    "ALL",
    "COLUMNS",
    "Group",
    "audit",
    "dead_input",
    "make_groups",
    "measure",
    "samples",
    "table",
]
