"""Adapters as a stream takes them: made from a text, checked against a bundle, and their proposals too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tta import registry, tasks
from tta.bundle import Bundle
from tta.errors import BundleError, TtaError
from tta.manifest import FEWEST_VALUES, fewest_frames
from tta.protocols import Adapter
from tta.records import Array, State
from tta.runtime.options import fit


def unfit(proposal: State, base: State) -> str:
    """Why a proposal cannot be served, empty if it can; ``State.child`` says the same, but not all use it."""
    for name, old in base.slots.items():
        new = proposal.slots.get(name)
        if new is old:
            continue
        if new is None or new.shape != old.shape or new.dtype != old.dtype:
            return f"slot {name} is missing, or of another shape or type"
        if not np.isfinite(new).all():
            return f"the new value of slot {name} is not finite"
    for name, new in proposal.memory.items():
        if not np.isfinite(new).all():
            return f"the new value of memory {name} is not finite"
    return ""


def make_adapter(text: str) -> Adapter:
    """The adapter that ``name?option=value`` names, each option of the type that its class says.

    Raises:
        NotFoundError: unknown name or option.
        TtaError: a value of the wrong type, or the class is no adapter.
    """
    name, _, query = text.partition("?")
    made = registry.load("tta.adapters", name)
    adapter: Adapter = made(**fit(made, f"adapter {name!r}", [], query, {}, TtaError))
    if missing := [member for member in ("needs", "init", "adapt") if not hasattr(adapter, member)]:
        raise TtaError(f"{name!r} is no adapter: it has no {', '.join(missing)}")
    return adapter


def source_state(
    adapter: Any, bundle: Bundle, calibration: Mapping[str, Array] | None = None
) -> State:
    """The state that a method begins with, told what calibration left if it wants to know.

    Args:
        adapter: the method.
        bundle: its bundle.
        calibration: the bundle's calibration, where a caller has read it.

    Raises:
        TtaError: the bundle lacks what the method needs.
    """
    state: State = adapter.init(bundle.manifest, bundle.source_slots)
    inform = getattr(adapter, "inform", None)
    if not callable(inform):
        return state
    informed: State = inform(state, bundle.calibration() if calibration is None else calibration)
    return informed


def check_needs(adapter: Any, bundle: Bundle) -> None:
    """Refuse, before the first frame, an adapter that does not suit the task or whose graphs are missing."""
    name = type(adapter).__module__.rpartition(".")[2].rstrip("_")
    if reason := tasks.refusal(f"adapter {name!r}", adapter, bundle.manifest.task):
        raise BundleError(f"{reason}: take bn_stats, actmad or none")
    missing = sorted(set(adapter.needs) - set(bundle.manifest.provides))
    if missing:
        objectives = ",".join(g.removeprefix("step/") for g in missing)
        cure = f"export again with --objectives {objectives}"
        if "step/nhl" in missing and "hebbian" not in bundle.manifest.layers.values():
            cure = (
                "no layer is Hebbian, so choose --adapter tent, or export again with --hebbian NAME"
            )
        raise BundleError(
            f"adapter {name!r} needs {', '.join(missing)}, but this bundle provides "
            f"{', '.join(bundle.manifest.provides)}: {cure}"
        )


def fewest(adapter: Any, bundle: Bundle) -> int:
    """Frames that a step of this adapter takes at least; see ``tta.manifest.fewest_frames``."""
    return fewest_frames(bundle.manifest) if getattr(adapter, "couples", True) else 1


def check_coupling(adapter: Any, bundle: Bundle, frames: int) -> None:
    """Refuse a batch on whose statistics a layer cannot run, before the first frame.

    ``tta.manifest.fewest_frames`` has the rule. Layers that normalize each sample by itself (LayerNorm,
    InstanceNorm, GroupNorm), Hebbian changes, and methods that do not couple are not bound by it.
    """
    least = fewest(adapter, bundle)
    if frames >= least:
        return
    coupled = bundle.manifest.batch_coupled
    tight = [layer for layer, n in coupled.items() if 0 < n * frames < FEWEST_VALUES]
    values = coupled[tight[0]] * frames
    more = f" (and {len(tight) - 1} more)" if len(tight) > 1 else ""
    raise TtaError(
        f"in a batch of {frames} layer {tight[0]!r}{more} would be normalized by the mean and variance of "
        f"{values} value{'s'[: values > 1]} a channel, which leave at most a sign of what comes in: take "
        f"--batch {least} or more, or an adapter that does not rely on the batch's statistics, such as "
        f"bn_stats?prior=16; a stream can also collect its frames by --buffer window?size={max(16, least)}"
    )
