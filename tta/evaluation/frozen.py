"""The source model's answers to a data set under each change: asked once, and kept on disk.

One file a change, ``<change>-<severity>-<hash>.npz`` with ``classes``, ``confidence`` and, where they are
kept, ``probabilities`` as float16. The hash is of bundle, data, change and severity. A file is written
whole, and one that is damaged or of something else counts as not there: what is lost is only the time to
ask again.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tta.categorical import log_softmax
from tta.evaluation.whole_file import write_arrays
from tta.records import Array

SMALL_BYTES = 16 << 20  # probabilities of a change up to which they are kept unasked

Key = tuple[str, int, bool]  # change, severity, whether of no class


@dataclass(slots=True)
class Answers:
    """What the source model says of the items under one change.

    Attributes:
        classes: ``(count,)``, -1 where it was not asked.
        confidence: ``(count,)`` probability of that class.
        probabilities: ``(count, K)`` float16, None where they are not kept.
    """

    classes: Array
    confidence: Array
    probabilities: Array | None
    fresh: bool = field(default=False)  # whether it knows more than the file

    def take(self, other: Answers) -> None:
        """Take over what the other knows and this does not."""
        more = (self.classes < 0) & (other.classes >= 0)
        self.classes[more], self.confidence[more] = other.classes[more], other.confidence[more]
        if self.probabilities is not None and other.probabilities is not None:
            self.probabilities[more] = other.probabilities[more]


class Frozen:
    """The answers to one data set.

    Args:
        whose: what tells bundle and data apart.
        count: items.
        classes: that the model tells apart.
        folder: of the files; None keeps them in memory alone.
        probabilities: keep them even where a change has more than 16 MiB of them.
    """

    def __init__(
        self, whose: str, count: int, classes: int, folder: Path | None, probabilities: bool
    ) -> None:
        self._whose, self._count, self._classes, self._folder = whose, count, classes, folder
        self.keeps = probabilities or 2 * count * classes <= SMALL_BYTES
        self._found: dict[Key, Answers] = {}

    def ask(self, key: Key, items: Array, logits: Callable[[Array], Array]) -> Answers:
        """Answers that have these items ``(n,)``; ``logits(items)`` is called for those not asked yet."""
        if key not in self._found:
            self._found[key] = self._read(key) or self._empty()
        found = self._found[key]
        if (missing := np.unique(items[found.classes[items] < 0])).size:
            said = logits(missing)
            log_p = log_softmax(said)
            found.confidence[missing] = np.exp(log_p.max(1))
            if found.probabilities is not None:
                found.probabilities[missing] = np.exp(log_p)
            found.classes[missing] = said.argmax(1)
            found.fresh = True
        return found

    def save(self) -> None:
        """Write what was asked since the last time, with what others have written meanwhile."""
        if self._folder is None:
            return
        for key, found in self._found.items():
            if not found.fresh:
                continue
            if there := self._read(key):
                found.take(there)
            arrays = {"classes": found.classes, "confidence": found.confidence}
            if found.probabilities is not None:
                arrays["probabilities"] = found.probabilities
            write_arrays(self.path(key), {"about": np.array(self._about(key)), **arrays})
            found.fresh = False

    def path(self, key: Key) -> Path:
        """File of a change."""
        change, severity, unseen = key
        name = re.sub(r"[^a-z0-9_]+", "", change) + f"-{severity}" + ("-unseen" if unseen else "")
        digest = hashlib.sha256(self._about(key).encode()).hexdigest()[:16]
        return (self._folder or Path()) / f"{name}-{digest}.npz"

    def _about(self, key: Key) -> str:
        return "\0".join((self._whose, *map(str, key)))

    def _empty(self) -> Answers:
        kept = np.zeros((self._count, self._classes), np.float16) if self.keeps else None
        return Answers(np.full(self._count, -1), np.zeros(self._count, np.float32), kept)

    def _read(self, key: Key) -> Answers | None:
        if self._folder is None:
            return None
        found = self._empty()
        wanted = {"classes": found.classes, "confidence": found.confidence}
        if found.probabilities is not None:
            wanted["probabilities"] = found.probabilities
        try:
            with self.path(key).open("rb") as opened:  # np.load leaves a damaged one open
                file = np.load(opened, allow_pickle=False)
                if str(file["about"]) != self._about(key):
                    return None
                for name, array in wanted.items():
                    array[:] = file[name]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return found


__all__ = ["Answers", "Frozen", "Key"]
