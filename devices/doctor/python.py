"""Python, its C library and its architecture: whether there are wheels for them."""

from __future__ import annotations

from collections.abc import Iterator

from tta.devices.finding import Finding, Subject, fail, ok, warn

OLDEST, NEWEST = (3, 10), (3, 13)
LAST_ONNXRUNTIME = {(3, 10): "1.23.2"}  # where a Python gets no newer wheel; PyPI, aarch64
_WHEELS = ("x86_64", "amd64", "AMD64", "aarch64", "arm64")
_GLIBC, _GLIBC_NEW = (2, 27), (2, 28)  # tags of onnxruntime's wheels: up to 1.28, and since then


def check(subject: Subject) -> Iterator[Finding]:
    """Version, word size, C library."""
    machine = subject.machine
    version = ".".join(str(part) for part in machine.python)
    if machine.python < OLDEST:
        yield fail(
            f"Python {version} is older than 3.10",
            "install Python 3.11 (Raspberry Pi OS 12 has it; elsewhere uv python install 3.11), and make the "
            "environment with it",
        )
        return
    if machine.bits == 32 or machine.architecture not in _WHEELS:
        kernel = f"{machine.bits}-bit Python on {machine.architecture}"
        yield fail(
            f"{kernel}: onnxruntime has no wheel for it",
            "install the 64-bit image of the system (Raspberry Pi OS 64-bit), where "
            "dpkg --print-architecture says arm64",
        )
        return
    if machine.system != "Linux":
        yield ok(f"Python {version}, 64-bit, {machine.architecture}, {machine.system}")
        return
    name, libc = machine.libc
    if name != "glibc":
        yield fail(
            f"the C library is {name or 'not glibc'}: PyPI has no onnxruntime wheel for it",
            "use a system with glibc (Debian, Ubuntu, Raspberry Pi OS), also as the base of a container",
        )
        return
    numbers = tuple(int(part) for part in libc.split(".")[:2] if part.isdigit())
    if numbers < _GLIBC:
        yield fail(
            f"glibc {libc} is older than 2.27, which onnxruntime's wheels need",
            "upgrade the system to Debian 11, Ubuntu 20.04 or newer",
        )
        return
    fact = f"Python {version}, 64-bit, {machine.architecture}, glibc {libc}"
    if numbers < _GLIBC_NEW:
        yield warn(
            f"{fact}: onnxruntime after 1.28 needs glibc 2.28",
            "pip install 'onnxruntime<1.29', or upgrade the system",
        )
    elif machine.python > NEWEST:
        yield warn(
            f"{fact}: tta is tested up to Python 3.13",
            "make the environment with Python 3.13",
        )
    elif machine.python in LAST_ONNXRUNTIME:
        last = LAST_ONNXRUNTIME[machine.python]
        yield ok(f"{fact}; the last onnxruntime for this Python is {last}")
    else:
        yield ok(fact)
