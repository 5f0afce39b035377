"""The source slots in a state's memory, for methods that go back to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tta.records import Array, State, frozen

_HEAD = "source."


def remembered(slots: Mapping[str, Array]) -> Mapping[str, Array]:
    """Memory entries ``source.<slot>``, read-only."""
    return frozen({f"{_HEAD}{name}": value for name, value in slots.items()})


def source_slots(state: State) -> dict[str, Array]:
    """The remembered slots by name."""
    return {
        name.removeprefix(_HEAD): value
        for name, value in state.memory.items()
        if name.startswith(_HEAD)
    }


def returned(state: State) -> State:
    """The state with all slots as remembered and nothing else in memory; its step and parent stay."""
    source = source_slots(state)
    return replace(state, slots=frozen(source), memory=remembered(source))
