"""Whether the bundle fits the memory: to serve it, and to build the second session of a commit."""

from __future__ import annotations

from collections.abc import Iterator

from tta.devices.finding import Finding, Subject, fail, ok, warn
from tta.errors import TtaError
from tta.runtime.doctor._bundle import opened
from tta.runtime.memory import SWAP_MIB, available_mib, swap_mib
from tta.runtime.provider import present, profile_of

_MIB = 2**20


def check(subject: Subject) -> Iterator[Finding]:
    """Serving and committing, see ``tta.runtime.memory``."""
    bundle = opened(subject)
    if bundle is None:
        return
    size = (bundle.path / "weights.safetensors").stat().st_size
    serving = size / _MIB + SWAP_MIB
    budget = subject.profile.budget.memory_mib
    left = min(
        available_mib(budget),
        subject.machine.memory_mib().get("MemAvailable", float("inf")),
    )
    try:
        provider = present(list(subject.profile.providers))[0]
    except TtaError:  # of which the check ``providers`` complains
        return
    refolds = profile_of(bundle.manifest.ep_profiles, provider) == "refold"
    commit = swap_mib(size) if refolds else 0.0
    limit = f" (the profile allows {budget} for the process)" if budget else ""
    fact = f"{serving:.0f} MiB to serve, {commit:.0f} more for a commit, {max(left, 0):.0f} left{limit}"
    inputs = "infer/inputs" in bundle.manifest.provides
    without = (
        "serve it with --ep-profile inputs" if inputs else "export it again with --ep cpu:inputs"
    )
    if serving > left:
        yield fail(
            f"the bundle does not fit: {fact}",
            "free memory, export a smaller model, or raise the limit with --memory-mib",
        )
    elif serving + commit > left:
        yield warn(
            f"commits do not fit: {fact}",
            f"{without}, which builds no session for a commit; --adapter none serves frames as it is",
        )
    else:
        yield ok(fact)
