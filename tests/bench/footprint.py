"""What the runtime adds to numpy and onnxruntime: megabytes installed, seconds to import.

Two fresh environments, one with numpy and onnxruntime, one with this project's wheel, are compared in size;
in the second, imports are timed in fresh processes that alternate. Prints a table, then one line of JSON.
Run by ``make bench``; it needs a package registry.
"""

import json
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
MOST_MB = 15.0
MOST_S = 0.08
RUNS = 21
BASE = "numpy, onnxruntime"
IMPORTS = ["tta.runtime", "tta.runtime.loop"]


def pip(*arguments):
    subprocess.run(
        [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments], check=True
    )


def environment(folder, *requirements):
    """A venv that holds these requirements and not even pip; its Python."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip("--python", python, "install", *requirements)
    return python


def sizes(python):
    """Bytes of each top-level name in site-packages, without and with compiled files."""
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    plain, compiled = Counter(), Counter()
    for path in site.rglob("*"):
        if path.is_file():
            name = path.relative_to(site).parts[0].split("-")[0]
            compiled[name] += path.stat().st_size
            if path.suffix != ".pyc":
                plain[name] += path.stat().st_size
    return plain, compiled


def import_s(python, modules, folder):
    """Seconds that one fresh process takes for ``import modules``, its start not counted."""
    code = f"import time; t = time.perf_counter(); import {modules}; print(time.perf_counter() - t)"
    command = [python, "-c", code]
    return float(
        subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    )


def mark(value, most):
    return "ok" if value <= most else "MISSED"


def main():
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
        subprocess.run(build, stdout=subprocess.DEVNULL, check=True)
        (wheel,) = folder.glob("*.whl")
        base = environment(folder / "base", "numpy", "onnxruntime")
        ours = environment(folder / "ours", wheel)

        before, after = sizes(base), sizes(ours)
        added = [Counter({k: v for k in a if (v := a[k] - b[k])}) for a, b in zip(after, before)]
        mb = {
            "wheel": wheel.stat().st_size / 1e6,
            "numpy and onnxruntime": before[1].total() / 1e6,
            "added": added[1].total() / 1e6,
            "added, uncompiled": added[0].total() / 1e6,
        }
        seconds = {modules: [] for modules in [BASE, *IMPORTS]}
        for _ in range(RUNS + 1):
            for modules, taken in seconds.items():
                taken.append(import_s(ours, modules, folder))
        times = {
            modules: median(taken[1:]) for modules, taken in seconds.items()
        }  # the first warms the disk
        extra = {modules: times[modules] - times[BASE] for modules in IMPORTS}

    print(f"{'installed, MB':32}{'compiled':>10}{'plain':>10}")
    for key, size in added[1].most_common(8):
        print(f"  {key:30}{size / 1e6:10.2f}{added[0][key] / 1e6:10.2f}")
    print(f"  {'added in all':30}{mb['added']:10.2f}{mb['added, uncompiled']:10.2f}", end="   ")
    print(f"at most {MOST_MB:g}: {mark(mb['added'], MOST_MB)}")
    print(f"  {'numpy and onnxruntime':30}{mb['numpy and onnxruntime']:10.2f}")
    print(f"  {'the wheel itself, zipped':30}{'':10}{mb['wheel']:10.2f}\n")
    print(f"{'import, s (median of ' + str(RUNS) + ')':32}{'whole':>10}{'added':>10}")
    print(f"  {BASE:30}{times[BASE]:10.3f}")
    for modules in IMPORTS:
        print(f"  {modules:30}{times[modules]:10.3f}{extra[modules]:10.3f}", end="   ")
        print(f"at most {MOST_S:g}: {mark(extra[modules], MOST_S)}")
    print()
    contributors = {key: round(size / 1e6, 2) for key, size in added[1].most_common()}
    report = {"mb": mb, "contributors_mb": contributors, "import_s": times, "import_added_s": extra}
    print(json.dumps(report | {"took_s": round(time.perf_counter() - start, 1)}))


if __name__ == "__main__":
    main()
