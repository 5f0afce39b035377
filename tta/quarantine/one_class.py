"""One class: nothing else was answered for very long."""

from __future__ import annotations

from tta.records import Array, Frame, Prediction

LONGEST = 1000  # frames in a row of one answer


class OneClass:
    """Refuses frames once the same class was answered 1,000 times in a row, until another one comes.

    A stream that is sorted by class is no reason, and a reservoir balances it; but whoever looks at an
    empty belt all night forgets, frame by frame, what is on it by day. It looks at classifiers only.
    """

    def __init__(self) -> None:
        self._label, self._row = -1, 0

    def refuses(self, frame: Frame, x: Array, prediction: Prediction) -> str:
        """A clause, or nothing."""
        label = prediction.label
        if label < 0 or len(prediction.probabilities) < 2:
            return ""
        self._row = self._row + 1 if label == self._label else 1
        self._label = label
        return "one class alone was answered for long" if self._row > LONGEST else ""
