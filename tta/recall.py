"""A stream's memory of the worlds it has been in, and of the state that served each: night comes again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tta.moments import distance
from tta.records import Array, Moments, State

CAPACITY = 24  # worlds; the one left longest ago makes room
TRIES = (
    3  # rounds after a jump in which it is looked for; the first may show frames from before, too
)


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """What the frozen view of a world looked like, by layer, and the state that was in force there."""

    signature: Mapping[str, Array]
    state: State


@dataclass
class Recall:
    """Worlds by the layer statistics of their frozen view, which adaptation does not change.

    A state that was good in a world is a proposal where that world is back; frames that come then have not
    taught it, so that it can be judged on them at once.
    """

    worlds: list[World] = field(default_factory=list)
    _tries: int = 0

    def begin(self) -> None:
        """The stream has come into another world."""
        self._tries = TRIES

    def keep(self, signature: Mapping[str, Array], state: State, near: float) -> None:
        """Remember the state of a world that is left, in place of one that is nearer than ``near``."""
        found = self._nearest(_moments(signature))
        if found is not None and found[0] < near:
            self.worlds.remove(found[1])
        self.worlds = [*self.worlds, World(signature, state)][-CAPACITY:]

    def find(self, moments: Mapping[str, Moments], near: float) -> State | None:
        """The state of the nearest world, if the view is nearer to it than ``near``; once a visit."""
        if not self._tries:
            return None
        self._tries -= 1
        found = self._nearest(moments)
        if found is None or not found[0] < near:
            return None
        self._tries = 0
        return found[1].state

    def _nearest(self, moments: Mapping[str, Moments]) -> tuple[float, World] | None:
        away = [
            (float(np.mean(list(distance(moments, world.signature).values()))), world)
            for world in self.worlds
        ]
        return min(away, key=lambda pair: pair[0], default=None)


def _moments(signature: Mapping[str, Array]) -> dict[str, Moments]:
    layers = [name.removeprefix("mean.") for name in signature if name.startswith("mean.")]
    return {k: Moments(signature[f"mean.{k}"], signature[f"var.{k}"], 1.0) for k in layers}
