"""What the C library costs: ``python -m tests.bench.bridge_cycles``.

Sizes by the cross compilers' ``size``; on an ATmega328 in simavr, cycles a byte; on a Cortex-M3 in QEMU under
``-icount shift=0``, where an instruction is a nanosecond of the board's clock, instructions a byte. The code
is built with -Os for the AVR and for Cortex-M0 sizes, with -O2 for the Cortex-M3.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from tta.firmware_bridge import boards
from tta.firmware_bridge.link import Link
from tta.firmware_bridge.messages import Channel, Schema

HERE = Path(__file__).parent
FIRMWARE = HERE.parents[1] / "firmware_bridge" / "firmware"
BYTES = 50 * 200  # repeats times bytes of a body
SCHEMA = Schema((Channel("unused"),), 0, 1000)


def sizes() -> None:
    """Text and RAM of the library, by what is built."""
    options = {
        "integer": [],
        "with float": ["-DTTA_FLOAT=1"],
        "with sentinel": ["-DTTA_SENTINEL=1"],
    }
    targets = {
        "Cortex-M0": ["arm-none-eabi-gcc", "-mcpu=cortex-m0", "-mthumb"],
        "ATmega328": ["avr-gcc", "-mmcu=atmega328p"],
    }
    for target, (gcc, *cpu) in targets.items():
        for name, flags in options.items():
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "b.o"
                source = FIRMWARE / "tta_bridge.c"
                subprocess.run(
                    [gcc, "-std=c99", *cpu, "-Os", *flags, "-c", source, "-o", out], check=True
                )
                size = gcc.replace("gcc", "size")
                text = subprocess.run(
                    [size, out], capture_output=True, text=True, check=True
                ).stdout
                probe = Path(folder) / "ram.c"
                probe.write_text(
                    '#include "tta_bridge.h"\n'
                    "char bridge[sizeof(tta_bridge)];\nchar config[sizeof(tta_config)];\n"
                )
                command = [
                    gcc,
                    "-std=c99",
                    *cpu,
                    *flags,
                    f"-I{FIRMWARE}",
                    "-fno-common",
                    "-c",
                    probe,
                ]
                subprocess.run([*command, "-o", out], check=True)
                names = subprocess.run(
                    [gcc.replace("gcc", "nm"), "-S", out],
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
                ram = {
                    m[2]: int(m[1], 16) for m in re.finditer(r" 0*([0-9a-f]+) [BbCDd] (\w+)", names)
                }
            print(f"{target} {name}: text {text.split()[6]} B, RAM {ram} B and buffers, 8 channels")


def run(kind: str, unit_us: float, unit: str) -> None:
    """Run the measuring firmware and print cost a byte."""
    options = [f'-DBOARD_APP="{HERE / "bridge_cycles.h"}"']
    with tempfile.TemporaryDirectory() as folder:
        samples = np.zeros((1, 1), "<i2")
        command = boards.build(kind, SCHEMA, samples, Path(folder), *options)
        if kind == "mps2":
            command[1:1] = ["-icount", "shift=0"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        try:
            line = next(m for text in process.stdout if (m := re.search(r"/dev/\S+", text)))
            heard, end_s = b"", time.monotonic() + 60
            with Link(line[0], timeout_s=0.2) as link:
                while b"decode" not in heard.rpartition(b"\n")[0] and time.monotonic() < end_s:
                    heard += link.read()
        finally:
            process.terminate()
            process.wait()
    for name, us in re.findall(rb"(crc|encode|decode) (\d+)", heard):
        print(f"{kind} {name.decode()}: {int(us) * unit_us / BYTES:.1f} {unit} a byte")


def main() -> None:
    """Print all."""
    sizes()
    run("atmega328", 16, "cycles")
    run("mps2", 1000, "instructions")


if __name__ == "__main__":
    main()
