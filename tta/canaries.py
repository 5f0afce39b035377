"""Canaries: labelled frames that a proposed state must not unlearn.

They come with the bundle, or are labelled on the device (``tta.runtime.canary_folder``). A proposal is vetoed

- by any *must-never-break* member (severity ``major``) that the frozen model answers rightly and the proposal
  does not;
- else by a fall of accuracy on all members shown that chance does not explain. With b members right by the
  frozen model alone and c by the proposal alone, a harmless proposal makes each of the b + c a fair coin, and

      p = P(X >= b),  X ~ Bin(b + c, 1/2)

  is McNemar's test in its exact form, one-sided (Psychometrika 12, 1947). It vetoes at p <= 0.05, so at
  5 broken against 0 mended, 7 against 1, 9 against 2: a few canaries see great harm alone.

What is right depends on the task, see ``right``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tta.errors import TtaError
from tta.records import Array

LEVEL = 0.05  # largest p of the paired test that vetoes
SHOWN = 32  # canaries that judge one proposal, at most
TASKS = ("classify", "multilabel", "regress")


@dataclass(frozen=True, slots=True)
class Finding:
    """What canaries say of a proposal: why it must not be in force (empty if it may), and the figures."""

    reason: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Canaries:
    """Labelled model inputs of one bundle; a value.

    Attributes:
        task: the bundle's task.
        frames: model inputs ``(...)``, n of them; they may be memory-mapped.
        targets: classes ``(n,)``, multilabel 0 and 1 ``(n, K)``, or values ``(n, p)`` of a regression.
        major: which are must-never-break ``(n,)``.
        tolerance: error that is right in a regression, by output ``(p,)``; empty for other tasks.
        labels: class names, may be empty.
    """

    task: str
    frames: Sequence[Array]
    targets: Array
    major: Array
    tolerance: Array
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def inputs(self) -> Array:
        """All model inputs, ``(n, ...)``."""
        return np.stack(self.frames)

    def turn(self, number: int, most: int = SHOWN) -> Array:
        """Places of the members that judge the proposal of that number: all major ones, others by turns.

        The others go round in an order in which classes alternate, so that neighbours differ.
        """
        always, others = np.flatnonzero(self.major), np.flatnonzero(~self.major)
        room = min(max(most - len(always), 0), len(others))
        if not room:
            return always
        if self.task == "classify":
            others = others[np.argsort(_rank(self.targets[others]), kind="stable")]
        chosen = others[(number * room + np.arange(room)) % len(others)]
        return np.sort(np.concatenate([always, chosen]))

    def at(self, places: Array) -> Canaries:
        """The members at those places."""
        return replace(
            self,
            frames=[self.frames[int(k)] for k in places],
            targets=self.targets[places],
            major=self.major[places],
        )

    def joined(self, other: Canaries) -> Canaries:
        """Both; where both have a frame, as the other has it.

        Raises:
            TtaError: they are of different tasks, tolerances or classes.
        """
        same = np.array_equal(self.tolerance, other.tolerance)
        if (self.task, self.labels) != (other.task, other.labels) or not same:
            raise TtaError("canaries of different tasks, classes or tolerances cannot be joined")
        theirs = {frame.tobytes() for frame in other.frames}
        keep = [k for k, frame in enumerate(self.frames) if frame.tobytes() not in theirs]
        ours = self.at(np.array(keep, int))
        return replace(
            self,
            frames=[*ours.frames, *other.frames],
            targets=np.concatenate([ours.targets, other.targets]),
            major=np.concatenate([ours.major, other.major]),
        )

    def judge(self, before: Array, after: Array) -> Finding:
        """What these members say of a proposal.

        Args:
            before: the frozen model's primary output on ``inputs``, ``(n, ...)``; it never changes.
            after: the same of the proposal, as it would be served.

        Raises:
            TtaError: an output of another shape.
        """
        old, new = (right(self.task, out, self.targets, self.tolerance) for out in (before, after))
        broken, mended = old & ~new, new & ~old
        b, c = int(broken.sum()), int(mended.sum())
        p = sign_test(b, c)
        figures = {
            "canaries": float(len(self)),
            "canaries_broken": float(b),
            "canaries_mended": float(c),
            "canaries_p": p,
            "canaries_major_broken": float((broken & self.major).sum()),
        }
        if (fatal := np.flatnonzero(broken & self.major)).size:
            more = f" (and {fatal.size - 1} more)" if fatal.size > 1 else ""
            return Finding(
                f"it breaks must-never-break canary {self._told(fatal[0], after)}{more}", figures
            )
        if p <= LEVEL:
            said = f"it breaks {b} of {len(self)} canaries and mends {c} (p = {p:.2g})"
            return Finding(said, figures)
        return Finding("", figures)

    def _told(self, place: int, after: Array) -> str:
        if self.task != "classify":
            return str(place)
        names = [
            self.labels[k] if k < len(self.labels) else str(k)
            for k in (int(self.targets[place]), int(after[place].argmax()))
        ]
        return f"{place}: {names[0]!r} becomes {names[1]!r}"


def right(task: str, outputs: Array, targets: Array, tolerance: Array) -> Array:
    """Which answers are right ``(n,)``; outputs that are not finite never are.

    ``classify``: the largest logit is the target's. ``multilabel``: every logit is on its label's side of 0.
    ``regress``: max_j |y_j - t_j| / tolerance_j <= 1, the normalised residual.

    Raises:
        TtaError: a task whose answers have no such rule, or outputs that do not go with the targets.

    >>> right("classify", np.array([[2.0, 1.0], [2.0, 1.0]]), np.array([0, 1]), np.zeros(0)).tolist()
    [True, False]
    """
    if task not in TASKS:
        raise TtaError(
            f"canaries are for the tasks {', '.join(TASKS)} so far, but this one is {task}"
        )
    n = len(targets)
    out = np.asarray(outputs, np.float64)
    shape = out.shape[:1] if task == "classify" and out.ndim == 2 else out.shape
    if shape != targets.shape:
        raise TtaError(
            f"outputs {out.shape} do not go with the targets {targets.shape} of {n} canaries"
        )
    whole = np.isfinite(out.reshape(n, -1)).all(1)
    safe = np.nan_to_num(out)
    if task == "classify":
        good = safe.argmax(-1) == targets
    elif task == "multilabel":
        good = ((safe > 0) == (targets > 0)).reshape(n, -1).all(1)
    else:
        good = (np.abs(safe - targets) <= tolerance).reshape(n, -1).all(1)
    found: Array = good & whole
    return found


def sign_test(broken: int, mended: int) -> float:
    """P(X >= broken) for X ~ Bin(broken + mended, 1/2).

    >>> sign_test(5, 0), round(sign_test(7, 1), 4), sign_test(0, 0)
    (0.03125, 0.0352, 1.0)
    """
    n = broken + mended
    return float(sum(math.comb(n, k) for k in range(broken, n + 1)) / 2**n)


def _rank(classes: Array) -> Array:
    """The how-many-th of its class each member is."""
    rank = np.zeros(len(classes), int)
    for k in np.unique(classes):
        rank[classes == k] = np.arange(int((classes == k).sum()))
    return rank


__all__ = ["Canaries", "Finding", "right", "sign_test"]
