"""Images a second that each corruption makes, on one core: at 32x32 and at 224x224, severity 3, RGB.

``python tests/bench/corruptions.py`` prints a table, the medians, and one line of JSON. What is made once
(sheets of ice, dirt) is made before the clock starts; each figure is the best of three runs.
"""

import json
import os
import sys
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))  # where the tests' pictures are

import numpy as np

from tests.painted import painted
from tta.corruptions import corrupt, names, standard

BATCH = {32: 256, 224: 16}
GOAL = {32: 500, 224: 40}  # of the median one of the fifteen


def rate(name, images):
    """Images a second."""
    corrupt(images[:2], name, 3)
    spent = []
    for seed in range(3):
        start = time.perf_counter()
        corrupt(images, name, 3, seed)
        spent.append(time.perf_counter() - start)
    return len(images) / min(spent)


def main():
    found = {}
    for side, batch in BATCH.items():
        images = painted(batch, side)
        found[side] = {name: rate(name, images) for name in names("image") + names("camera")}
    print(f"{'images/s':20}{'32x32':>10}{'224x224':>10}")
    for name in found[32]:
        print(f"{name:20}{found[32][name]:10,.0f}{found[224][name]:10,.0f}")
    medians = {side: median(found[side][name] for name in standard()) for side in BATCH}
    print(f"{'median of 15':20}{medians[32]:10,.0f}{medians[224]:10,.0f}")
    print(f"{'goal':20}{GOAL[32]:10,.0f}{GOAL[224]:10,.0f}")
    sizes = {str(side): {name: round(v, 1) for name, v in found[side].items()} for side in BATCH}
    print(
        json.dumps(
            {"images_per_s": sizes, "median": {str(k): round(v, 1) for k, v in medians.items()}}
        )
    )


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
