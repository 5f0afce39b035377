"""Runs the work on emulated ARM cores and compares it with this machine's: ``make test-arm64``.

For each core and each onnxruntime: outputs, one step of every method, a governed stream, the demo's command.
Then instructions a frame and a round, which are exact where time in an emulator says nothing; they must not
grow by more than 3 % over ``recorded.json``. Writes ``build/arm64/result.json``; ``--record`` keeps it as
``recorded.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime.quantization as quantization

HERE = Path(__file__).parent
ROOT = HERE.parents[1] / "build/arm64"
RECORDED = HERE / "recorded.json"
CORES = {"cortex-a72": "Raspberry Pi 4, no dot product", "cortex-a76": "Raspberry Pi 5"}
RUNTIMES = ("newest", "oldest")
TOLERANCE = {"infer": 1e-4, "int8": 0.15, "slots": 1e-3}  # of the largest value of the array
ANSWERS = 0.01  # share of a governed stream's answers that may differ
GROWTH = 1.03
FEW, MANY = 20, 60


def guest(
    core: str, runtime: str, *words: str, plugin: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run Python in the guest. Plugins need the system's qemu: the other one is linked statically."""
    emulator = shutil.which("qemu-aarch64") if plugin else str(ROOT / "qemu/usr/bin/qemu-aarch64")
    paths = f"{ROOT / 'tta'}:{ROOT / runtime}"
    command = [str(emulator), "-cpu", core, "-L", str(ROOT / "root")]
    if plugin:
        command += ["-plugin", str(ROOT / "count.so")]
    environment = {
        "PYTHONPATH": paths,
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "ORT_DISABLE_TELEMETRY": "1",
    }
    for key, value in environment.items():
        command += ["-E", f"{key}={value}"]
    command += [str(ROOT / "root/usr/bin/python3.11"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Samples(quantization.CalibrationDataReader):
    """Model inputs, one by one."""

    def __init__(self, name: str, inputs: np.ndarray) -> None:
        self._rows = iter([{name: x[None]} for x in inputs])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next one."""
        return next(self._rows, None)


def quantized(inputs: np.ndarray) -> Path:
    """An int8 copy of the demo's inference graph."""
    import onnx
    import onnx.inliner
    from onnx.external_data_helper import load_external_data_for_model

    folder = HERE.parents[1] / "tta/demo/fashion.tta"
    model = onnx.load(folder / "infer.onnx", load_external_data=False)
    load_external_data_for_model(model, str(folder))
    plain, made = ROOT / "plain.onnx", ROOT / "int8.onnx"
    onnx.save(onnx.inliner.inline_local_functions(model), plain)
    samples = Samples(model.graph.input[0].name, inputs[:64])
    form = quantization.QuantFormat.QDQ
    quantization.quantize_static(plain, made, samples, quant_format=form, per_channel=True)
    return made


def compared(here: dict[str, np.ndarray], there: dict[str, np.ndarray]) -> dict[str, object]:
    """Largest difference by kind, and what is beyond its tolerance."""
    worst: dict[str, float] = {}
    bad = [f"{name} is missing" for name in here if name not in there]
    for name, a in here.items():
        kind = name.partition("/")[0]
        if kind not in TOLERANCE or name not in there:
            continue
        scale = max(1e-6, float(np.abs(a).max()))
        away = float(np.abs(a - there[name]).max()) / scale
        worst[kind] = max(worst.get(kind, 0.0), away)
        if not away <= TOLERANCE[kind]:
            bad.append(f"{name} differs by {away:.2g} of its largest value")
    labels = float((here["stream/labels"] != there["stream/labels"]).mean())
    if labels > ANSWERS:
        bad.append(f"{100 * labels:.1f} % of the stream's answers differ")
    same = bool(np.array_equal(here["stream/actions"], there["stream/actions"]))
    methods = sum(name.startswith("labels/") for name in there)
    return {
        "worst": {k: float(f"{v:.2g}") for k, v in worst.items()},
        "stream_answers_differing": labels,
        "same_decisions": same,
        "methods": methods,
        "bad": bad,
    }


def instructions(core: str) -> dict[str, float]:
    """Instructions a frame and a round of 16, by differences of whole runs."""

    def count(frames: int, rounds: int) -> int:
        words = [str(HERE / "work.py"), "--frames", str(frames), "--rounds", str(rounds)]
        ran = guest(core, "oldest", *words, plugin=True)
        found = re.search(r"instructions (\d+)", ran.stderr)
        if ran.returncode or found is None:
            raise SystemExit(f"counting failed: {ran.stderr[-800:]}")
        return int(found[1])

    base = count(FEW, 0)
    return {
        "frame": (count(MANY, 0) - base) / (MANY - FEW),
        "round": (count(FEW, 8) - base) / 8,
    }


def main() -> int:
    """Run all, print a line each, return 1 where anything is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--demo-frames", type=int, default=40)
    given = parser.parse_args()
    here = ROOT / "here.npz"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(HERE / "work.py"), str(here)], check=True, env=environment)
    with np.load(here) as data:
        int8 = quantized(data["inputs"])
    subprocess.run(
        [sys.executable, str(HERE / "work.py"), str(here), "--int8", str(int8)],
        check=True,
        env=environment,
    )
    with np.load(here) as data:
        ours = dict(data)
    rows, failed = [], False
    for core, what in CORES.items():
        for runtime in RUNTIMES:
            there = ROOT / f"{core}-{runtime}.npz"
            there.unlink(missing_ok=True)
            ran = guest(core, runtime, str(HERE / "work.py"), str(there), "--int8", str(int8))
            row: dict[str, object] = {"core": core, "board": what, "status": ran.returncode}
            if ran.returncode or not there.exists():
                row["bad"] = [f"it ended with status {ran.returncode}: {ran.stderr[-400:]}"]
            else:
                with np.load(there) as data:
                    theirs = dict(data)
                row["onnxruntime"], row["numpy"] = map(str, theirs["versions"])
                row |= compared(ours, theirs)
            demo = guest(core, runtime, "-m", "tta", "demo", "--frames", str(given.demo_frames))
            row["demo"] = "returns to the source" in demo.stdout and not demo.returncode
            failed |= bool(row["bad"]) or not row["demo"]
            rows.append(row)
            print(json.dumps(row), flush=True)
    counted = {core: instructions(core) for core in CORES}
    print(json.dumps(counted), flush=True)
    if RECORDED.exists() and not given.record:
        before = json.loads(RECORDED.read_text())["instructions"]
        for core, one in counted.items():
            for what, now in one.items():
                if now > GROWTH * before[core][what]:
                    print(
                        f"{core}: a {what} takes {now:,.0f} instructions, {before[core][what]:,.0f} before"
                    )
                    failed = True
    result = {"host_onnxruntime": str(ours["versions"][0]), "rows": rows, "instructions": counted}
    text = json.dumps(result, indent=1) + "\n"
    (ROOT / "result.json").write_text(text)
    if given.record:
        RECORDED.write_text(text)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
