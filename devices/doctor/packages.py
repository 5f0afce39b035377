"""The packages that tta needs: present, new enough, and whether they load on this processor."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from importlib import metadata

from tta.devices.finding import Finding, Subject, fail, ok

NEEDED = {"numpy": (1, 24), "onnxruntime": (1, 18), "safetensors": (0, 4)}
RIVALS = (  # each of them installs the folder onnxruntime
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-qnn",
    "onnxruntime-migraphx",
)


def check(subject: Subject) -> Iterator[Finding]:
    """One line a package."""
    rivals = {name: found for name in RIVALS if (found := version_of(name))}
    for name, oldest in NEEDED.items():
        found = next(iter(rivals.values()), None) if name == "onnxruntime" else version_of(name)
        yield _examine(subject, name, oldest, found)
    if len(rivals) > 1:
        yield fail(
            f"{' and '.join(rivals)} are both installed, and write over each other's files",
            f"pip uninstall -y {' '.join(rivals)}, then install the one that this board needs",
        )


def version_of(distribution: str) -> str | None:
    """Version of an installed distribution."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _examine(subject: Subject, name: str, oldest: tuple[int, int], found: str | None) -> Finding:
    least = ".".join(str(part) for part in oldest)
    tried = subject.machine.try_import(name)
    if tried.status and f"No module named '{name}'" in tried.text:
        return fail(f"{name} is not installed", f"pip install '{name}>={least}'")
    if tried.status == -signal.SIGILL:
        return fail(
            f"{name} {found or ''} was built for another processor: illegal instruction at its import",
            f"pip install --force-reinstall --no-cache-dir '{name}>={least}', from PyPI and not from another "
            "index, on this board",
        )
    if tried.status and ("_ARRAY_API" in tried.text or "compiled using NumPy 1" in tried.text):
        return fail(
            f"{name} {found or ''} was built for numpy 1, and does not load beside numpy "
            f"{version_of('numpy') or '2'}",
            f"pip install -U '{name}>={least}', or where there is no newer one: pip install 'numpy<2'",
        )
    if tried.status:
        why = (tried.text.splitlines() or ["no message"])[-1]
        return fail(
            f"{name} {found or ''} is installed but does not load: {why}",
            f"pip install --force-reinstall --no-cache-dir '{name}>={least}'; a missing .so comes from apt",
        )
    if found is not None and _numbers(found) < oldest:
        return fail(f"{name} {found} is older than {least}", f"pip install -U '{name}>={least}'")
    return ok(f"{name} {found or '(no version told)'}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
