"""Builds the C library and drives it from Python; tests skip where a compiler is missing."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
FIRMWARE = ROOT / "firmware_bridge" / "firmware"
HERE = Path(__file__).parent
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
COUNTS = ("uptime_s", "samples", "sent", "overruns", "drops", "refused")


def tool(name):
    """Path of a program; the test is skipped where it is missing."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is missing: tests/recipes/firmware-tools.sh installs it")
    return path


def build(*command):
    """Run a compiler and say what it said if it refused."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def shared(folder):
    """The library with its test port, every undefined behaviour fatal."""
    out = folder / "bridge.so"
    sanitize = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
    flags = ["-g", "-O1", "-shared", "-fPIC", "-DTTA_FLOAT=1", "-DTTA_SENTINEL=1", f"-I{FIRMWARE}"]
    sources = [HERE / "library_port.c", FIRMWARE / "tta_bridge.c"]
    build(tool("gcc"), *STRICT, *sanitize, *flags, *sources, "-o", out)
    library = ctypes.CDLL(str(out))
    library.board_new.restype = ctypes.c_void_p
    library.board_poll.restype = library.board_counts.restype = ctypes.c_uint32
    return library


class Board:
    """One bridge of the C library: bytes in, bytes out, and a clock that stands still."""

    def __init__(self, library, real=0, rx=512, tx=512, ring=64, window=3, norm=1, sentinel=1):
        self._library, self._real = library, real
        made = library.board_new(real, rx, tx, ring, window, norm, sentinel)
        if not made:
            raise ValueError("tta_init refused")
        self._board = ctypes.c_void_p(made)

    def __getattr__(self, name):
        function = getattr(self._library, f"board_{name}")
        return lambda *given: function(self._board, *given)

    def poll(self, wire=b"", room=100_000):
        out = ctypes.create_string_buffer(room + 1)
        n = self._library.board_poll(self._board, wire, len(wire), out, room)
        return out.raw[:n]

    def push(self, samples):
        function = "board_push_float" if self._real else "board_push"
        call = getattr(self._library, function)
        for sample in np.asarray(samples, np.float32 if self._real else np.int16):
            call(self._board, sample.tobytes())

    @property
    def counts(self):
        return {name: self._library.board_counts(self._board, k) for k, name in enumerate(COUNTS)}

    def free(self):
        self._library.board_free(self._board)
