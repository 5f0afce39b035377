"""A bundle's sessions, shared by the streams that it serves."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from tta.bundle import Bundle
from tta.records import Array, State, content_hash
from tta.runtime.memory import check_swap
from tta.runtime.provider import present, profile_of
from tta.runtime.session import AdaptSession, InferSession

SHORT = 12  # digits of a state hash in reports


class Model:
    """A bundle's sessions, shared by streams: one inference session a distinct state, one adaptation.

    Args:
        bundle: the bundle.
        threads: intra-op threads that serve frames.
        adapt_threads: intra-op threads of the step graphs, default the same.
        providers: execution providers that serve frames.
        profile: how slots reach the served session; default what the bundle says.
        spinning: whether inference threads wait for each other awake.
        memory_mib: memory that the process may have, None for what the system has.
    """

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 1,
        *,
        adapt_threads: int | None = None,
        providers: Sequence[Any] | None = None,
        profile: str | None = None,
        spinning: bool = False,
        memory_mib: float | None = None,
    ) -> None:
        self.bundle, self.threads, self.memory_mib = bundle, threads, memory_mib
        self.calibration = bundle.calibration()
        self.adapting = AdaptSession(bundle, adapt_threads or threads)
        self._build: Callable[[Mapping[str, Array] | None], InferSession] = lambda slots: (
            InferSession(bundle, slots, threads, providers, profile=profile, spinning=spinning)
        )
        self.profile = profile or profile_of(bundle.manifest.ep_profiles, present(providers)[0])
        self._fed = self._build(None) if self.profile != "refold" else None
        self._source: weakref.ref[InferSession] | None = None
        self.source_hash = content_hash(bundle.source_slots)[:SHORT]
        self.builder: Executor | None = None  # where sessions with threads of their own are built

    @property
    def source(self) -> InferSession:
        """The source model's session: built when it is asked for, and gone when nobody holds it.

        So a process that serves an adapted state holds its weights once. Whoever asks it often keeps it.
        """
        found = self._fed or (self._source() if self._source else None)
        if found is None:
            found = self._built(None)
            self._source = weakref.ref(found)
        return found

    def check_memory(self) -> None:
        """Refuse a commit for which there is no memory, see ``memory.check_swap``."""
        if self.profile == "refold":
            size = (self.bundle.path / "weights.safetensors").stat().st_size
            check_swap(size, self.memory_mib, "infer/inputs" in self.bundle.manifest.provides)

    def serve(self, state: State) -> tuple[InferSession, str]:
        """An inference session for a state's slots, and their short hash.

        Raises:
            MemoryShortError: it would need more memory than there is.
        """
        digest = content_hash(state.slots)[:SHORT]
        if digest == self.source_hash:
            return self.source, digest
        if self._fed is not None:
            return self._fed.with_slots(state.slots), digest
        self.check_memory()
        return self._built(state.slots), digest

    def _built(self, slots: Mapping[str, Array] | None) -> InferSession:
        if self.builder is None:
            return self._build(slots)
        return self.builder.submit(self._build, slots).result()
