"""Builds the replay firmware and runs it without hardware: in QEMU, in simavr, or as a program here.

Each board is a context manager; its ``port`` is a pseudo terminal, on whose other end the device's UART is.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tta.errors import SourceError
from tta.firmware_bridge.emulated import EmulatedDevice
from tta.firmware_bridge.messages import Schema
from tta.records import Array

KINDS = ("mps2", "atmega328", "posix", "python")
_TOOLS = {
    "mps2": ("arm-none-eabi-gcc", "qemu-system-arm"),
    "atmega328": ("avr-gcc", "gcc"),
    "posix": ("gcc",),
    "python": (),
}
_LINE_BYTES = 1 << 16
_PTY = re.compile(r"(/dev/\S+)")


def missing(kind: str) -> list[str]:
    """Programs that a board needs and this machine lacks."""
    lacking = [tool for tool in _TOOLS[kind] if shutil.which(tool) is None]
    if kind == "atmega328" and not Path("/usr/include/simavr/sim_avr.h").exists():
        lacking.append("libsimavr-dev")
    return lacking


def replay_header(schema: Schema, samples: Array) -> str:
    """``replay.h`` of the firmware: a schema, and samples ``(n, C)`` int16 that it sends over and over."""
    channels = ", ".join(
        f'TTA_CHANNEL("{c.name}", "{c.unit}", {_real(c.scale)}, {_real(c.lowest)}, {_real(c.highest)})'
        for c in schema.channels
    )
    rows = ",\n".join("{" + ",".join(map(str, row)) + "}" for row in samples.tolist())
    n, C = samples.shape
    return (
        f"#define REPLAY_CHANNELS {C}\n#define REPLAY_SAMPLES {n}u\n"
        f'#define REPLAY_SCHEMA(id) TTA_SCHEMA(id, "replay", "1.0", {schema.rate_mhz}ul, {channels})\n'
        f"static const int16_t replay[REPLAY_SAMPLES][REPLAY_CHANNELS] REPLAY_SECTION = {{\n{rows}}};\n"
    )


def _real(value: float) -> str:
    return f"{float(np.float32(value))!r}f"


def build(kind: str, schema: Schema, samples: Array, folder: Path, *options: str) -> list[str]:
    """Build a board's firmware into a folder; the command that runs it, and prints its terminal's name.

    Raises:
        SourceError: a program is missing, or a compiler refused.
    """
    if lacking := missing(kind):
        raise SourceError(
            f"board {kind} needs {', '.join(lacking)}: tests/recipes/firmware-tools.sh installs them"
        )
    (folder / "replay.h").write_text(replay_header(schema, samples), encoding="utf-8")
    with as_file(files("tta.firmware_bridge") / "firmware") as firmware:
        boards = firmware / "boards"
        flags = ["-std=gnu99", "-Wall", "-Wextra", "-Werror", f"-I{firmware}", f"-I{folder}"]
        sources = [str(firmware / "tta_bridge.c"), str(boards / f"{kind}.c")]
        out = str(folder / "board.elf")
        if kind == "mps2":
            cpu = ["-mcpu=cortex-m3", "-mthumb", "-O2", "-ffreestanding", "-nostdlib"]
            link = ["-T", str(boards / "mps2.ld")]
            _compile(["arm-none-eabi-gcc", *cpu, *flags, *options, *sources, *link, "-o", out])
            machine = ["-M", "mps2-an385", "-display", "none", "-monitor", "none"]
            return ["qemu-system-arm", *machine, "-serial", "pty", "-kernel", out]
        if kind == "atmega328":
            cpu = ["-mmcu=atmega328p", "-DF_CPU=16000000UL", "-Os", "-DTTA_CHANNELS=6"]
            _compile(["avr-gcc", *cpu, *flags, *options, *sources, "-o", out])
            host = str(folder / "simavr_host")
            libraries = ["-lsimavr", "-lelf", "-lm"]
            source = str(boards / "simavr_host.c")
            _compile(["gcc", "-O2", "-Wall", source, "-o", host, *libraries])
            return [host, out]
        _compile(["gcc", "-O2", "-g", *flags, *options, *sources, "-o", out])
        return [out]


def _compile(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
        raise SourceError(f"{command[0]} could not build the firmware: {first.strip()[:300]}")


class ProcessBoard:
    """A board that is a process of its own.

    Args:
        kind: ``mps2``, ``atmega328`` or ``posix``.
        schema: what it measures.
        samples: ``(n, C)`` int16, replayed at the schema's rate.
        *options: for the compiler, such as ``-DBOARD_WINDOW=5``.
    """

    def __init__(self, kind: str, schema: Schema, samples: Array, *options: str) -> None:
        self._kind, self._schema, self._samples, self._options = kind, schema, samples, options
        self.port = ""

    def __enter__(self) -> ProcessBoard:
        self._folder = tempfile.TemporaryDirectory()
        try:
            path = Path(self._folder.name)
            command = build(self._kind, self._schema, self._samples, path, *self._options)
            self._process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
            )
            assert self._process.stdout is not None
            for line in self._process.stdout:
                if match := _PTY.search(line):
                    self.port = match[1]
                    break
            else:
                raise SourceError(f"board {self._kind} ended before it named its port")
        except BaseException:
            if hasattr(self, "_process"):
                self._process.kill()
                self._process.wait()
            self._folder.cleanup()
            raise
        return self

    def reset(self) -> None:
        """Press the reset button (posix and atmega328)."""
        self._process.send_signal(signal.SIGUSR1)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self.said = self._process.communicate(timeout=5)[0]
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.said = self._process.communicate()[0]
        self._folder.cleanup()


class PythonBoard:
    """The emulated device in a thread, on a pseudo terminal.

    Args:
        schema: what it measures.
        samples: ``(n, C)`` int16, replayed at the schema's rate.
        **options: of ``EmulatedDevice``.
    """

    def __init__(self, schema: Schema, samples: Array, **options: Any) -> None:
        self._schema, self._samples, self._options = schema, samples, options
        self.port = ""
        self.device: EmulatedDevice | None = None

    def __enter__(self) -> PythonBoard:
        if sys.platform == "win32":
            raise SourceError("an emulated board needs pseudo terminals, which Windows has not")
        import pty
        import tty

        self._line, self._held = pty.openpty()
        tty.setraw(self._held)
        import os

        os.set_blocking(self._line, False)
        self.port = os.ttyname(self._held)
        self._stop = threading.Event()
        self._reset = threading.Event()
        self._write: Callable[[int, bytes], int] = os.write
        self._read: Callable[[int, int], bytes] = os.read
        self._close: Callable[[int], None] = os.close
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def reset(self) -> None:
        """Press the reset button."""
        self._reset.set()

    def _run(self) -> None:
        device = self.device = EmulatedDevice(self._schema, **self._options)
        period_s = 1000 / self._schema.rate_mhz
        born_s = time.monotonic()
        pushed = 0
        device.start(born_s)
        out = b""
        while not self._stop.wait(0.002):
            now_s = time.monotonic()
            if self._reset.is_set():
                self._reset.clear()
                device.start(now_s)
                born_s, pushed = now_s, 0
                out = out[:7]  # in the middle of a frame
            while pushed * period_s <= now_s - born_s:
                device.push(self._samples[pushed % len(self._samples)])
                pushed += 1
            received = b""
            with contextlib.suppress(BlockingIOError):
                received = self._read(self._line, 4096)
            said = device.poll(received, now_s)
            if len(out) < _LINE_BYTES:  # a line that nobody reads loses what comes after
                out += said
            with contextlib.suppress(BlockingIOError):
                out = out[self._write(self._line, out) :]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._close(self._line)
        self._close(self._held)


def board(kind: str, schema: Schema, samples: Array) -> ProcessBoard | PythonBoard:
    """A board by its kind."""
    if kind == "python":
        return PythonBoard(schema, samples)
    return ProcessBoard(kind, schema, samples)
