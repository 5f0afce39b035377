"""Repeated: a source that hands out the same frame again."""

from __future__ import annotations

from tta.records import Array, Frame, Prediction

LOOKED_AT = 4096  # values of a frame, evenly spaced
MEMORY = 8  # frames looked back at: some drivers hand out their buffers in turn


class Repeated:
    """Refuses a frame that is one of the last 8, by about 4,096 evenly spaced values of its model input.

    A live sensor has noise, so its frames differ even where nothing moves; a frozen driver's do not. Ten
    equal frames weigh as one: batch statistics of copies are those of a single frame.
    """

    def __init__(self) -> None:
        self._seen: list[bytes] = []

    def refuses(self, frame: Frame, x: Array, prediction: Prediction) -> str:
        """A clause, or nothing."""
        flat = x.reshape(-1)
        some = flat[:: max(1, flat.size // LOOKED_AT)].tobytes()
        again = some in self._seen
        if not again:
            self._seen = [*self._seen[-(MEMORY - 1) :], some]
        return "the source repeats a frame" if again else ""
