"""``tta replay``: the recorded frames again, decided again, against what was served."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import quote

import numpy as np

from tta.errors import TtaError
from tta.records import Result
from tta.runtime.loop import run
from tta.runtime.recording import Recorded, Recording

SETTINGS = (
    "adapter", "batch", "buffer", "serve", "governor", "every", "commit_s", "canaries",
    "quarantine", "state", "state_dir", "adapt", "threads",
)  # fmt: skip
_STREAM = ("batch", "buffer", "governor", "every", "commit_s", "canaries", "quarantine")


class Comparison:
    """A sink that lays each result beside its recorded frame.

    Attributes:
        same: frames with the same bits and state up to the first that differs.
        first: what differs first; empty where nothing does.
    """

    def __init__(self, frames: list[Recorded]) -> None:
        self._frames = {f.seq: f for f in frames}
        self.same, self.first = 0, ""

    def write(self, result: Result) -> None:
        """Compare one."""
        frame, answer = self._frames.get(result.frame.seq), result.prediction
        if self.first or frame is None:
            return
        if answer is None:
            self.first = f"frame {result.frame.seq} was answered, but is not now"
        elif answer.state != frame.state:
            self.first = (
                f"frame {frame.seq} was answered by state {frame.state}, now by {answer.state}"
            )
        elif not _bits(np.asarray(answer.probabilities), frame.about["probabilities"]):
            self.first = f"frame {frame.seq} has other probabilities under the same state"
        else:
            self.same += 1

    def close(self) -> None:
        """Nothing waits."""


def replay_command(given: argparse.Namespace) -> None:
    """Run it."""
    recording = Recording(given.recording, given.bundle)
    known: dict[str, Any] = recording.about.get("settings", {})
    if recording.about["choose"] != "all" or not known:
        raise TtaError(f"{given.recording} is a sample: replay needs tta run --record-choose all")
    if known["state"] or known["state_dir"]:
        raise TtaError(
            f"{given.recording} began with a stored state, which it does not hold: record a run "
            "without --state and --state-dir"
        )
    if recording.bundle.manifest.preprocess.get("kind") == "window":
        raise TtaError("a recording of windows lacks the readings between them: it has no replay")
    differs = False
    for name in recording.streams():
        frames = recording.frames(name)
        if recording.damaged:
            raise TtaError(f"recorded frame {recording.damaged[0]} is damaged: record again")
        if [int(f.path.stem) for f in frames] != list(range(len(frames))):
            raise TtaError(f"{given.recording} lost frames of {name} while it ran: record again")
        compared = Comparison(frames)
        run(
            recording.bundle,
            f"replay://{given.recording}?stream={quote(name)}",
            known["adapter"],
            compared,
            serve=known["serve"],
            threads=known["threads"] or 1,
            adapt="inline",
            **{k: known[k] for k in _STREAM},
        )
        said = f"differs: {compared.first}" if compared.first else "the same bits and states"
        print(f"{name}: {compared.same} of {len(frames)} frames the same; {said}")
        differs |= bool(compared.first)
    if differs:
        raise TtaError(
            "the replay differs: another build, machine, thread count, or a worker's timing"
        )


def _bits(one: Any, other: Any) -> bool:
    return bool(one.shape == other.shape and one.tobytes() == other.tobytes())
