"""Every bench claim on six models, one after the other: ``python -m tests.bench.six_models OUT``.

Exports the bundles into OUT/bundles (kept from run to run), measures each model with ``tta.runtime.bench``,
and writes OUT/<model>.json, and OUT/claims.md with one table a claim. A model that fails is named there with
its reason, and the others go on. On a quiet machine with two cores it takes half an hour; ``--quick``
takes few and small blocks, to see that everything runs.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.models import efficientnet_lite, mobilenet_v2, resnet18, sensor_cnn, vit, wrn
from tta.bundle import Bundle
from tta.errors import TtaError
from tta.runtime.bench import Setting, bench

OPTIONS = {"objectives": ["entropy"], "hebbian": []}  # what the claims are about: Tent and bn_stats
BATCH = {
    "mobilenet_v2": 4, "resnet_18": 4, "efficientnet_lite0": 4, "wrn_40_2": 8, "vit_tiny": 16,
    "sensor_cnn": 16,
}  # fmt: skip
PACED = ("mobilenet_v2",)
STEMS = ("mobilenet_v2", "resnet_18")
MANY_SWAPS = ("mobilenet_v2", "sensor_cnn")
LAYERS = ("last:4", "stem")
DUTY = 0.1
QUICK = {"rounds": 1, "block_s": 0.5, "steps": 2, "swaps": 10, "pace_s": 5.0}
FULL = {"rounds": 5, "block_s": 1.5, "steps": 7}


def _made(function: Callable[[int], Any], seed: int = 0) -> Any:
    return (*function(seed), OPTIONS)


def mobilenet_v2_() -> Any:
    return _made(mobilenet_v2.full)


def resnet_18_() -> Any:
    return _made(resnet18.full, 1)


def efficientnet_lite0_() -> Any:
    return _made(efficientnet_lite.full)


def wrn_40_2_() -> Any:
    return _made(wrn.wrn_40_2)


def vit_tiny_() -> Any:
    return _made(vit.factory)


def sensor_cnn_() -> Any:
    return _made(sensor_cnn.factory)


def exported(folder: Path, model: str, layers: str = "") -> tuple[Path | None, str]:
    """The bundle of a model with those layers, made unless it is there; None and why, if it cannot be."""
    suffix = layers.replace(":", "")
    path = folder / f"{model}{'-' + suffix if suffix else ''}.tta"
    if not path.exists():
        factory = f"tests.bench.six_models:{model}_"
        command = [sys.executable, "-m", "tta", "export", factory, "-o", str(path)]
        more = ["--layers", layers] if layers else []
        started = time.perf_counter()
        done = subprocess.run([*command, *more], capture_output=True, text=True)
        if done.returncode:
            return None, " ".join(done.stderr.strip().splitlines()[-1:])
        taken = time.perf_counter() - started
        path.with_suffix(".export.json").write_text(json.dumps({"export_s": taken}))
    return path, ""


def measured(out: Path, model: str, quick: bool) -> dict[str, Any]:
    """All figures of one model; ``error`` and ``missing`` say what could not be had."""
    bundles = out / "bundles"
    bundles.mkdir(parents=True, exist_ok=True)
    path, why = exported(bundles, model)
    if path is None:
        return {"error": why}
    others, missing = [], {}
    for layers in LAYERS if model in STEMS else LAYERS[:1]:
        other, why = exported(bundles, model, layers)
        if other is None:
            missing[layers] = why
        else:
            others.append(Bundle(other))
    setting = Setting(
        adapter="tent",
        batch=BATCH[model],
        duty=DUTY,
        swaps=1000 if model in MANY_SWAPS else 200,
        vs=f"tests.bench.six_models:{model}_",
        **FULL,
    )
    if quick:
        setting = replace(setting, **QUICK)
    figures = bench(Bundle(path), setting, others).to_dict()
    if model in PACED:
        figures["paced"] = paced(path, others, quick)
    figures["missing"] = missing
    figures["export_s"] = {
        p.name.removesuffix(".export.json"): json.loads(p.read_text())["export_s"]
        for p in sorted(bundles.glob(f"{model}*.export.json"))
    }
    return figures


def paced(path: Path, others: list[Bundle], quick: bool) -> dict[str, Any]:
    """One core, 15 frames a second, 70 % taken: all norms on single frames, then the last four on four."""
    from tta.runtime.bench_report import Bench
    from tta.runtime.bench_speed import paced as run
    from tta.runtime.fold import fold

    found = {}
    last = [b for b in others if "last4" in b.path.name]
    for bundle, batch in [(Bundle(path), 1), *((b, 4) for b in last)]:
        plain = fold(bundle, None, path.with_suffix(".plain.onnx"))
        pace_s = 5.0 if quick else 60.0
        setting = Setting(adapter="tent", batch=batch, fps=15.0, load=0.7, cpus=(0,), pace_s=pace_s)
        report = Bench(bundle.manifest.name, setting)
        run(report, bundle, {"kind": "plain", "model": str(plain)}, setting)
        found[f"{bundle.path.name.removesuffix('.tta')}, batch {batch}"] = report.figures["paced"]
    return found


def claims(found: dict[str, dict[str, Any]]) -> str:
    """Markdown: one table a claim."""
    good = {m: f for m, f in found.items() if "error" not in f}
    parts = [_speed(good), _duty(good), _sampled(good), _paced(good), _torch(good), _swaps(good)]
    for model, f in found.items():
        if "error" in f:
            parts.append(f"{model}: not measured, {f['error']}")
        parts += [
            f"{model} with --layers {k}: not measured, {w}" for k, w in f.get("missing", {}).items()
        ]
    exports = {k: v for f in good.values() for k, v in f["export_s"].items()}
    rows = [[name, f"{seconds:.1f}"] for name, seconds in exports.items()]
    parts.append(_table("Export", ["bundle", "seconds"], rows))
    return "\n\n".join(parts) + "\n"


def _table(title: str, columns: list[str], rows: list[list[str]]) -> str:
    lines = [f"### {title}", "", "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _ratio(value: float) -> str:
    return f"{value:.3f}"


def _speed(found: dict[str, Any]) -> str:
    rows = []
    for model, f in found.items():
        speed = f["1 inference thread"]
        aa, original = speed["plain (A/A)"], speed["original"]
        for name in ("session, worker", "loop, worker"):
            ours = speed[name]
            rows.append(
                [
                    model,
                    name,
                    *(_ratio(ours[k]) for k in ("fps_ratio", "p99_ratio")),
                    *(_ratio(aa[k]) for k in ("fps_ratio", "p99_ratio")),
                    _ratio(original["fps_ratio"]),
                    *(f"{ours[k]:.3g}" for k in ("adapted_fps", "commits_h")),
                ]
            )
    columns = [
        "model",
        "candidate",
        "fps",
        "p99",
        "A/A fps",
        "A/A p99",
        "original fps",
        "frames learned/s",
    ]
    title = (
        "One inference thread, one adaptation thread (fps at least 0.97 of plain, p99 at most 1.25)"
    )
    return _table(title, [*columns, "commits/h"], rows)


def _duty(found: dict[str, Any]) -> str:
    rows = []
    for model, f in found.items():
        ((_, speed),) = [(k, v) for k, v in f.items() if k.endswith("inference threads")]
        for name, ours in speed.items():
            if "duty" in name:
                aa = speed["plain (A/A)"]["fps_ratio"]
                learned = (f"{ours[k]:.3g}" for k in ("adapted_fps", "commits_h"))
                texts = (_ratio(v) for v in (ours["fps_ratio"], ours["duty"], aa))
                rows.append([model, name, *texts, *learned])
    columns = ["model", "candidate", "fps", "duty kept", "A/A fps", "frames learned/s", "commits/h"]
    return _table(
        f"All cores, inline at duty {DUTY} (fps at least {0.97 * (1 - DUTY):.3f})", columns, rows
    )


def _sampled(found: dict[str, Any]) -> str:
    rows = []
    for model, f in found.items():
        speed = f["1 inference thread"]
        for name, ours in speed.items():
            if "every" in name:
                texts = (_ratio(v) for v in (ours["cpu_ratio"], speed["loop"]["cpu_ratio"]))
                aa = _ratio(speed["plain (A/A)"]["cpu_ratio"])
                learned = (f"{ours[k]:.3g}" for k in ("adapted_fps", "commits_h"))
                rows.append([model, name, *texts, aa, *learned])
    columns = ["model", "candidate", "CPU", "loop alone", "A/A", "frames learned/s", "commits/h"]
    title = "bn_stats on every 8th frame, that run also serving it (CPU time to plain)"
    return _table(title, columns, rows)


def _paced(found: dict[str, Any]) -> str:
    rows = []
    for f in found.values():
        for setting, runs in f.get("paced", {}).items():
            for name, run in runs.items():
                if isinstance(run, dict):
                    minutes = run["seconds"] / 60
                    texts = (f"{run[k]:.1f}" for k in ("p99_ms", "longest_ms", "longest_wait_ms"))
                    counts = (f"{run.get(k, 0) / minutes:.1f}" for k in ("rounds", "commits"))
                    missed = f"{run['missed']} of {run['frames']}"
                    rows.append([setting, name, missed, *texts, *counts, f"{run['peak_mib']:.0f}"])
    columns = [
        "bundle",
        "candidate",
        "missed",
        "p99 ms",
        "longest ms",
        "longest wait ms",
        "rounds/min",
    ]
    title = "One core, 15 fps, 70 % taken (missed at most plain + 0.1 %, waits at most 66.7 ms)"
    return _table(title, [*columns, "commits/min", "peak MiB"], rows)


def _torch(found: dict[str, Any]) -> str:
    rows = []
    for f in found.values():
        first = next(iter(f["torch"].values()))["tta"]["step_ms"]
        for name, pair in f["torch"].items():
            ours, theirs, ratio = pair["tta"], pair["torch"], pair["ratio"]
            rows.append(
                [
                    name,
                    str(pair["layers"]),
                    f"{ours['step_ms']:.1f} / {theirs['step_ms']:.1f} = {ratio['step_ms']:.3f}",
                    _ratio(ours["step_ms"] / first),
                    f"{ours['peak_mib']:.0f} / {theirs['peak_mib']:.0f} = {ratio['peak_mib']:.3f}",
                    f"{ours['start_s']:.2f} / {theirs['start_s']:.2f} = {ratio['start_s']:.3f}",
                ]
            )
    columns = [
        "bundle",
        "norms",
        "step CPU ms",
        "to all norms",
        "peak MiB",
        "start to first answer s",
    ]
    title = "Tent against eager torch (memory at most 0.6, last four 0.4; start at most 0.25)"
    return _table(title, columns, rows)


def _swaps(found: dict[str, Any]) -> str:
    rows = []
    for model, f in found.items():
        memory, swaps = f["memory"], f["setting"]["swaps"]
        kept = memory["swapping"]["resident_mib"]
        over = (memory["swapping"]["peak_mib"] - memory["plain"]["resident_mib"]) / memory[
            "weights_mib"
        ]
        texts = (
            f"{v:.0f}" for v in (memory["plain"]["resident_mib"], memory["swapping"]["peak_mib"])
        )
        row = [model, str(swaps), f"{memory['weights_mib']:.1f}", *texts, f"{over:.2f}"]
        rows.append(
            [*row, f"{kept[1]:.1f} to {kept[-1]:.1f}", f"{memory['swapping']['cpu_ms']:.0f}"]
        )
    columns = ["model", "swaps", "weights MiB", "plain MiB", "peak MiB", "above plain, in weights"]
    title = "Swapping (peak at most plain + 1.5 weights, flat)"
    return _table(title, [*columns, "resident, first to last tenth", "CPU ms a swap"], rows)


def main() -> None:
    """Measure what is asked for and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--quick", action="store_true", help="small counts: figures mean nothing")
    parser.add_argument("--models", default=",".join(BATCH), help="which, a,b")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    given.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for model in given.models.split(","):
        started = time.perf_counter()
        try:
            found[model] = measured(given.out, model, given.quick)
        except TtaError as error:
            found[model] = {"error": str(error)}
        taken = time.perf_counter() - started
        (given.out / f"{model}.json").write_text(json.dumps(found[model], indent=1) + "\n")
        (given.out / "claims.md").write_text(claims(found))
        print(f"{model}: {taken:.0f} s {found[model].get('error', '')}", flush=True)


if __name__ == "__main__":
    main()
