"""``python -m tests.bench.nhl_study``: run what is not there yet, then write docs/nhl_study.md."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from joblib import Parallel, delayed

from tests.bench.nhl_study.cells import Laboratory, OutOfTime
from tests.bench.nhl_study.plan import everything


def run(folder: Path, until: float) -> bool:
    """Run what is there for nobody else to run, until all is there; whether it was in time."""
    torch.set_num_threads(1)
    lab = Laboratory(folder, until)
    try:
        while True:
            lab.awaited = 0
            for part in everything(lab):
                print(f"{time.strftime('%H:%M:%S')} {part}", flush=True)
            if not lab.awaited:
                return True
            time.sleep(5)  # the search goes on from another's result
    except OutOfTime:
        return False


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/nhl_study"))
    parser.add_argument("--hours", type=float, default=24.0, help="no cell begins after so long")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--report", action="store_true", help="only write what is there")
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not given.report:
        until = time.time() + 3600 * given.hours
        work = [delayed(run)(given.folder, until) for _ in range(given.jobs)]
        if not all(Parallel(n_jobs=given.jobs)(work)):
            print("out of time: what is done is kept, and the next call goes on", flush=True)
    from tests.bench.nhl_study.report import write

    write(Laboratory(given.folder, None), given.docs)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
