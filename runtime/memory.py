"""What memory a process has, and how it gives back what a swap of sessions needed.

A session of 45 MB of weights needs some 100 MB more while onnxruntime builds it. glibc keeps freed memory for
later, in one heap a thread, so a process that rebuilds its session at each commit grows for a while.
``settle_allocator`` makes large blocks go back to the system at once; ``trim`` gives back the rest.
Neither does anything where there is no glibc.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path
from typing import Any

from tta.errors import MemoryShortError

_M_TRIM_THRESHOLD, _M_ARENA_MAX = -1, -8  # mallopt's names for them, malloc.h
_TRIM_BYTES = 1 << 20
SWAP_WEIGHTS = (
    2.6  # times the weights that building a session needs at its peak, measured on ResNet-18
)
SWAP_MIB = 16.0  # and what it needs beside them: graph, plan, first frame
_MIB = 2**20


@functools.cache
def _glibc() -> Any:
    """The C library if it is glibc, else None."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL("libc.so.6")
        return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
    except OSError:
        return None


def settle_allocator() -> bool:
    """Have glibc use one heap and return freed memory, for a process that will swap sessions.

    For whoever owns the process, as the command line does: it also holds for everything else in it. The same
    as ``MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=1048576`` in the environment before it starts.
    """
    library = _glibc()
    if library is None:
        return False
    return bool(
        library.mallopt(_M_ARENA_MAX, 1) and library.mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
    )


def trim() -> None:
    """Give freed memory back to the system, after a swap."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def retire(held: list[Any]) -> None:
    """Let go of a session that no longer serves, the only one in that list, and give its memory back.

    Both take milliseconds, so a loop that has a thread beside it leaves this to the thread.
    """
    held.clear()
    trim()


def resident_mib() -> float:
    """Resident memory of this process now; nan where /proc does not say."""
    return _status("VmRSS")


def peak_mib() -> float:
    """The most that was resident so far, or since ``forget_peak``; nan where /proc does not say."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Let ``peak_mib`` begin anew, where the kernel allows."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _status(key: str) -> float:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) / 1024
    except (OSError, ValueError, IndexError):
        pass
    return float("nan")


def available_mib(most_mib: float | None = None) -> float:
    """Memory that this process may still take: the least of what system, control group and limit leave.

    Args:
        most_mib: memory that the process may have in all; None for no limit of its own.
    """
    left = [_system_mib(), *_group_mib()]
    if most_mib is not None:
        left.append(most_mib - resident_mib())
    return min((value for value in left if value == value), default=float("inf"))


def _system_mib() -> float:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 1024
    except (OSError, ValueError, IndexError):
        pass
    return float("nan")


_LAYOUTS = (  # hierarchy's name, its folder, limit, use, and file pages that the kernel drops when asked
    ("", "", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def _group_mib(root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> list[float]:
    """What the limits of the process's control group and of those above it leave, in its two layouts.

    Pages of files that nobody has read lately count as use, but go when memory is needed, so they are left
    as well: a video that is read through would fill every limit otherwise.
    """
    found = []
    for hierarchy, folder, limit, used, idle in _LAYOUTS:
        top = root / folder
        for group in _groups(top, _own_group(proc, hierarchy)):
            try:
                most, now = (int((group / name).read_text()) for name in (limit, used))
            except (OSError, ValueError):  # absent, or "max"
                continue
            found.append((most - now + _counted(group / "memory.stat", idle)) / _MIB)
    return found


def _own_group(proc: Path, hierarchy: str) -> str:
    """Path of this process's control group within a hierarchy, ``/`` where nothing says."""
    try:
        for line in (proc / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if hierarchy in controllers.split(","):
                return path
    except (OSError, ValueError):
        pass
    return "/"


def _groups(top: Path, path: str) -> list[Path]:
    """A control group's folder and those above it; a container may show only the topmost."""
    own = top / path.strip("/")
    return [own, *(above for above in own.parents if above.is_relative_to(top))]


def _counted(stat: Path, key: str) -> int:
    try:
        for line in stat.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
    except (OSError, ValueError):
        pass
    return 0


def check_swap(weights_bytes: int, most_mib: float | None, inputs: bool) -> None:
    """Refuse a commit for which there is no memory, before it is tried.

    Args:
        weights_bytes: size of the weights that a session holds.
        most_mib: memory that the process may have in all, None for no limit of its own.
        inputs: whether the bundle has a graph whose slots are inputs.

    Raises:
        MemoryShortError: building a session needs more than is left; the message offers the way without.
    """
    needed, left = swap_mib(weights_bytes), available_mib(most_mib)
    if needed > left:
        cure = "serve it with --ep-profile inputs" if inputs else "export it with --ep cpu:inputs"
        raise MemoryShortError(
            f"a commit needs about {needed:.0f} MiB to build a session, but {max(left, 0):.0f} MiB are "
            f"left: {cure}, which needs no new session, or run with --adapter none"
        )


def swap_mib(weights_bytes: int) -> float:
    """MiB that building one more session needs at its peak."""
    return SWAP_WEIGHTS * weights_bytes / _MIB + SWAP_MIB
