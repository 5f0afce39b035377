"""The machine as a check sees it: files below a root, programs on a path, clocks, and who asks.

Nothing here fails: what is absent or unreadable is None. Tests lay out a root of their own.
"""

from __future__ import annotations

import os
import platform
import shutil
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_PATIENCE_S = 10.0
_IMPORT_S = 60.0  # a cold card is slow


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said: its exit status, negative for a signal, and its output with its complaints."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A Linux system.

    Attributes:
        root: where ``/proc``, ``/sys``, ``/dev`` and ``/etc`` lie.
        folder: absolute path, below the root, where states and logs will be written.
        system: ``Linux``, ``Darwin``; the checks of files know Linux only.
        architecture: of the kernel: ``x86_64``, ``aarch64``, ``armv7l``.
        bits: of the Python interpreter.
        python: its version.
        libc: name and version of its C library.
        uid: who asks.
        groups: ids of the groups that they are in.
        path: where programs are searched, None for ``$PATH``.
        wall: seconds since 1970.
        steady: seconds of a clock that never jumps.
        usage: bytes in all and bytes free of the file system that holds a path.
        python_program: interpreter that imports packages for a test.
    """

    root: Path = Path("/")
    folder: str = field(default_factory=os.getcwd)
    system: str = field(default_factory=platform.system)
    architecture: str = field(default_factory=platform.machine)
    bits: int = struct.calcsize("P") * 8
    python: tuple[int, int] = (sys.version_info[0], sys.version_info[1])
    libc: tuple[str, str] = field(default_factory=platform.libc_ver)
    uid: int = field(default_factory=lambda: os.getuid())
    groups: frozenset[int] = field(
        default_factory=lambda: frozenset({os.getgid(), *os.getgroups()})
    )
    path: str | None = None
    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    usage: Callable[[str], tuple[int, int]] = lambda path: shutil.disk_usage(path)[::2]
    python_program: str = sys.executable

    def at(self, path: str) -> Path:
        """Where an absolute path of the machine lies."""
        return self.root / path.lstrip("/")

    def raw(self, path: str) -> bytes | None:
        """A file's bytes."""
        try:
            return self.at(path).read_bytes()
        except OSError:
            return None

    def text(self, path: str) -> str | None:
        """A file's text without the space, newline or zero byte at its end."""
        raw = self.raw(path)
        return None if raw is None else raw.decode("utf-8", "replace").strip(" \n\t\0")

    def number(self, path: str) -> int | None:
        """A file's one whole number, decimal or 0x."""
        try:
            return int(self.text(path) or "", 0)
        except ValueError:
            return None

    def found(self, pattern: str) -> list[str]:
        """Absolute paths that match a pattern, sorted; links count, wherever they lead."""
        names = self.root.glob(pattern.lstrip("/"))
        return sorted("/" + str(path.relative_to(self.root)) for path in names)

    def exists(self, path: str) -> bool:
        """Whether there is something at that path."""
        return os.path.lexists(self.at(path))

    def ask(self, program: str, *arguments: str) -> Answer | None:
        """Run a program; None where it is absent."""
        found = shutil.which(program, path=self.path)
        return None if found is None else _answer([found, *arguments])

    def try_import(self, module: str) -> Answer:
        """Import a module in a process of its own, which a broken one may crash."""
        code = (
            f"import sys; sys.path = [p for p in sys.path if p]; import {module}"  # not from here
        )
        return _answer([self.python_program, "-c", code], _IMPORT_S)

    def may_use(self, path: str) -> bool:
        """Whether who asks may read and write a device, as its owner, group and mode say."""
        try:
            about = self.at(path).stat()
        except OSError:
            return False
        if self.uid == 0:
            return True
        if about.st_uid == self.uid:
            return bool(about.st_mode & stat.S_IRUSR and about.st_mode & stat.S_IWUSR)
        if about.st_gid in self.groups:
            return bool(about.st_mode & stat.S_IRGRP and about.st_mode & stat.S_IWGRP)
        return bool(about.st_mode & stat.S_IROTH and about.st_mode & stat.S_IWOTH)

    def group_of(self, path: str) -> str:
        """Name of the group that owns a file, its number where ``/etc/group`` has no name."""
        try:
            owner = self.at(path).stat().st_gid
        except OSError:
            return "?"
        for line in (self.text("/etc/group") or "").splitlines():
            name, *rest = line.split(":")
            if len(rest) > 1 and rest[1] == str(owner):
                return name
        return str(owner)

    def memory_mib(self) -> dict[str, float]:
        """``/proc/meminfo`` in MiB, empty where it is unreadable."""
        found = {}
        for line in (self.text("/proc/meminfo") or "").splitlines():
            name, _, rest = line.partition(":")
            if rest.split()[:1] and rest.split()[0].isdigit():
                found[name] = int(rest.split()[0]) / 1024
        return found

    def mount(self, path: str) -> tuple[str, str, str, frozenset[str]] | None:
        """Device, mount point, type and options of the file system that holds an absolute path."""
        best: tuple[str, str, str, frozenset[str]] | None = None
        for line in (self.text("/proc/mounts") or "").splitlines():
            words = line.split()
            if len(words) < 4:
                continue
            point = words[1].replace("\\040", " ")
            inside = path == point or path.startswith(point.rstrip("/") + "/")
            if inside and (best is None or len(point) >= len(best[1])):
                best = (words[0], point, words[2], frozenset(words[3].split(",")))
        return best


def _answer(command: list[str], patience_s: float = _PATIENCE_S) -> Answer:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=patience_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(124, f"no answer within {patience_s:.0f} s")
    except OSError as error:
        return Answer(126, str(error))
    return Answer(done.returncode, done.stdout.decode("utf-8", "replace").strip())
