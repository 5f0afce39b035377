"""Which recorded frames to label, and what their labels say.

Frames where the frozen model's answer is another than the one served are a stratum of their own, since an
adaptation mends or breaks there alone; the others are cut into strata by confidence (``tta.stratified``).
Each stratum gets as many labels. Within it the frames are taken in time order at equal distances from a
random start (systematic sampling), so that each has the same chance, and frames that follow one another and
are alike are not drawn together. The accuracy so stays unbiased.
"""

from __future__ import annotations

import numpy as np

from tta.canaries import TASKS, right
from tta.errors import FrameError, TtaError
from tta.records import Array, content_hash
from tta.runtime.answer_text import guessed
from tta.runtime.canary_folder import CanaryFolder, Member
from tta.runtime.label_file import Label, LabelFile
from tta.runtime.model import Model
from tta.runtime.recording import Recorded, Recording
from tta.stratified import Measured, cuts, draw, measured, stratum


class Labelling:
    """The frames of one stream, with their labels.

    Args:
        recording: that has them.
        stream: folder of the stream; it may be left out where there is one.
        tolerance: error that is right in a regression, by output.

    Raises:
        TtaError: there is no such stream or no frame, or the task has no right and wrong.
    """

    def __init__(
        self, recording: Recording, stream: str | None = None, tolerance: tuple[float, ...] = ()
    ) -> None:
        self.recording, self.manifest = recording, recording.bundle.manifest
        self.tolerance = tolerance
        if self.manifest.task not in TASKS:
            raise TtaError(
                f"frames of the tasks {', '.join(TASKS)} can be labelled, but this bundle's is "
                f"{self.manifest.task}"
            )
        if self.manifest.task == "regress" and not tolerance:
            raise TtaError("what is right in a regression needs --tolerance, an error by output")
        names = recording.streams()
        if stream is None and len(names) == 1:
            stream = names[0]
        if stream not in names:
            raise TtaError(
                f"{recording.folder} has frames of {', '.join(names) or 'no stream'}: name one with --stream"
            )
        self.stream = stream
        self.frames = {f.name: f for f in recording.frames(stream)}
        self.file = LabelFile(recording.folder, recording.bundle.hash)
        self._strata: dict[str, int] | None = None

    def strata(self) -> dict[str, int]:
        """Stratum of each frame; 0 are those where the frozen model answers otherwise."""
        if self._strata is None:
            confidence = np.array([f.confidence for f in self.frames.values()])
            found = 1 + stratum(confidence, cuts(confidence))
            self._strata = dict(zip(self.frames, np.where(self._differs(), 0, found).tolist()))
        return self._strata

    def _differs(self) -> Array:
        if self.manifest.task == "regress":
            return np.zeros(len(self.frames), bool)
        source = Model(self.recording.bundle).source
        differs = []
        for frame in self.frames.values():
            try:
                x = self.recording.input(frame).astype(self.manifest.input.dtype)[None]
            except FrameError:
                differs.append(False)
                continue
            frozen = source.run(x)[self.manifest.primary][0]
            served = guessed(self.manifest, frame.about["output"])
            differs.append(guessed(self.manifest, frozen) != served)
        return np.array(differs, bool)

    def offer(self, count: int, seed: int = 0) -> list[Recorded]:
        """The frames to label: those that still wait, or ``count`` new ones."""
        waiting = [k for k in self.file.waiting() if k in self.frames]
        if not waiting:
            waiting = self._drawn(count, np.random.default_rng([seed, len(self.file.offered)]))
            self.file.offered += waiting
            self.file.write()
        return [self.frames[k] for k in waiting]

    def _drawn(self, count: int, rng: np.random.Generator) -> list[str]:
        names, strata = list(self.frames), np.array(list(self.strata().values()))
        taken = np.array([k in self.file.labels or k in self.file.skipped for k in names], bool)
        shares = strata[draw(strata, taken, count, rng)]
        places: list[int] = []
        for h in np.unique(shares):
            left, n = np.flatnonzero((strata == h) & ~taken), int((shares == h).sum())
            places += left[((rng.random() + np.arange(n)) * len(left) / n).astype(int)].tolist()
        return [names[k] for k in sorted(places)]

    def label(self, name: str, target: object) -> Label:
        """Keep a label; a frame that was not offered has one, too, but does not count for the accuracy."""
        if name not in self.frames:
            raise TtaError(f"the recording has no frame {name} of stream {self.stream}: see --list")
        output = np.asarray(self.frames[name].about["output"])
        good = right(self.manifest.task, output[None], np.array([target]), np.array(self.tolerance))
        made = Label(target, bool(good[0]), name in self.file.offered)
        self.file.labels[name] = made
        self.file.write()
        return made

    def measured(self) -> Measured:
        """The accuracy of what was served on the recorded frames."""
        strata = self.strata()
        counted = {
            k: v
            for k, v in self.file.labels.items()
            if k in strata and v.chosen and v.tag != "unclear"
        }
        return measured(
            np.array(list(strata.values())),
            np.array([strata[k] for k in counted], int),
            [v.right for v in counted.values()],
        )

    def confidence(self) -> float:
        """The label-free estimate: mean confidence served (Garg et al., ICLR 2022, call it AC)."""
        known = [f.confidence for f in self.frames.values() if np.isfinite(f.confidence)]
        return float(np.mean(known)) if known else float("nan")

    def join(self, folder: CanaryFolder, names: list[str], severity: str = "minor") -> list[Member]:
        """Labels become canaries; the members that had to go."""
        origin = "label" if severity == "minor" else "review"
        new = []
        for name in names:
            frame = self.frames[name]
            target = self.file.labels[name].target
            member = Member("", target, severity, origin, frame.stream, frame.seq, frame.t_s)
            new.append((self.recording.input(frame), member))
        return folder.add(new, self.tolerance)

    def leave(self, folder: CanaryFolder, name: str) -> None:
        """Take a frame out of the canaries."""
        x = np.asarray(self.recording.input(self.frames[name]), np.float32)
        folder.remove([content_hash({"x": x})])


__all__ = ["Labelling"]
