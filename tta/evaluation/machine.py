"""On which machine a result was made: seconds mean nothing without it."""

from __future__ import annotations

import os
import platform
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@cache
def machine() -> dict[str, str | int]:
    """Platform, CPU and cores of this process, and the versions that decide its speed."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return {
        "tta": version("tta-edge"),
        "machine": f"{platform.machine()}, {python}",
        "cpu": cpu_name(CPUINFO),
        "cores": cores(),
        "onnxruntime": version("onnxruntime"),
    }


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def cpu_name(path: Path) -> str:
    """What the system calls its CPU; on ARM boards the kernel names the board instead."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for key in ("model name", "Model", "Hardware"):
        if found := re.search(rf"^{key}\s*:\s*(.+)$", text, re.MULTILINE):
            return found[1].strip()
    return platform.processor() or platform.machine() or "unknown"


__all__ = ["cores", "cpu_name", "machine"]
