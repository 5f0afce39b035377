"""Which combinations of a sweep cannot run on a bundle and its data, and why; known before any frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tta.errors import NotFoundError, TtaError
from tta.evaluation.cell import Material, check_fit, corruption_names, taken_for
from tta.evaluation.protocols import Setting, build
from tta.runtime.method import check_needs, make_adapter, source_state

if TYPE_CHECKING:
    from tta.evaluation.sweep import Sweep


@dataclass(frozen=True, slots=True)
class Unfit:
    """What cannot run: a method, a method at some batch, or a protocol; the others of the three are empty.

    Attributes:
        reason: the refusal, with its cure.
    """

    adapter: str
    batch: int | None
    protocol: str
    reason: str

    def __str__(self) -> str:
        """One line for people."""
        what = self.protocol or self.adapter
        at = f" at batch {self.batch}" if self.batch is not None else ""
        return f"{what}{at} is left out: {self.reason}"

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def unfit(sweep: Sweep, material: Material) -> Iterator[Unfit]:
    """All that cannot run, one after another.

    Raises:
        TtaError, NotFoundError: a name or an argument that no bundle and no data would make right.
    """
    bundle = material.bundle
    for adapter in sweep.adapters:
        alone = taken_for(bundle.manifest, adapter, sweep.buffer, sweep.batches[0], sweep.serve)
        method: Any = make_adapter(alone.adapter)
        try:
            check_needs(method, bundle)
            source_state(method, bundle)
        except NotFoundError:
            raise
        except TtaError as error:
            yield Unfit(adapter, None, "", str(error))
            continue
        for batch in sweep.batches:
            try:
                taken = taken_for(bundle.manifest, adapter, sweep.buffer, batch, sweep.serve)
                check_fit(method, bundle, taken, batch)
            except TtaError as error:
                yield Unfit(adapter, batch, "", str(error))
    chosen, count = corruption_names(sweep.corruptions), len(material.labels)
    for protocol in sweep.protocols:
        made = build(protocol)
        try:
            for seed in sweep.seeds:
                setting = Setting(material.labels, chosen, sweep.severity, count, seed, sweep.brief)
                for each in made.visits(setting):
                    if not len(each.items):
                        raise TtaError(f"{protocol} has a visit without images: take more of them")
        except TtaError as error:
            yield Unfit("", None, protocol, str(error))


def first_refusal(sweep: Sweep, material: Material) -> str:
    """Why a sweep is refused, empty where all that is not left out can run."""
    for each in unfit(sweep, material):
        if _without(sweep, [each]) != sweep:
            return f"{each.reason} (--skip-unfit leaves out what cannot run)"
    return ""


def fitting(sweep: Sweep) -> tuple[Sweep, list[Unfit]]:
    """The sweep without what cannot run, and what that is.

    Raises:
        TtaError: nothing of it can run.
    """
    found = list(unfit(sweep, sweep.material(None)))
    left = _without(sweep, found)
    if not left.cells():
        raise TtaError(f"nothing of this sweep can run, first of all because {found[0].reason}")
    return left, found


def _without(sweep: Sweep, found: list[Unfit]) -> Sweep:
    out = {
        (protocol, adapter, batch)
        for each in found
        for protocol in sweep.protocols
        for adapter in sweep.adapters
        for batch in sweep.batches
        if each.protocol in ("", protocol)
        and each.adapter in ("", adapter)
        and each.batch in (None, batch)
    }
    return replace(sweep, left_out=sweep.left_out | out)


__all__ = ["Unfit", "first_refusal", "fitting", "unfit"]
