"""``tta demo --out DIR``: the pictures of the demo's own run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tta.evaluation.side_by_side import Answer, Recorder
from tta.evaluation.simulate import save, writable
from tta.evaluation.summary import summarise
from tta.records import Array, Prediction, Result
from tta.runtime.stream import Stream


class DemoPictures:
    """Watches the demo, which knows nothing of pictures, and saves them when it is over.

    Args:
        out: folder for the files.
        adapter: what the demo runs.
        seed: of its stream.

    Raises:
        MissingExtraError: matplotlib is not installed.
        TtaError: the folder cannot be written.
    """

    def __init__(self, out: str, adapter: str, seed: int) -> None:
        self._folder = writable(out)
        self._about = {"adapter": adapter, "source": "demo", "seed": seed}
        self._recorder: Recorder | None = None

    def take(self, stream: Stream, result: Result, frozen: Prediction, x: Array) -> None:
        """Take in one answer of the stream, and the frozen model's to the same input."""
        if self._recorder is None:
            self._recorder = Recorder(stream, self._about)
        label = int(result.frame.meta["label"])
        self._recorder.add(Answer(result, x, None, label, None), frozen, None)

    def save(self) -> Sequence[Path]:
        """Write the files."""
        if self._recorder is None:
            return ()
        recording = self._recorder.finish()
        return save(self._folder, recording, summarise(recording))


__all__ = ["DemoPictures"]
