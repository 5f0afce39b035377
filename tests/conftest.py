"""What every test has: one thread, loud arithmetic, one seed, and the real data where there is any."""

import os
from pathlib import Path

# Before numpy and torch are imported: one thread is faster for small models, and sums repeat exactly.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

# A division by zero or an overflow is a bug; an exponential that vanishes is a right answer.
np.seterr(all="raise", under="ignore")

collect_ignore = [
    "bench",
    "recipes",
]  # programs, no tests: `make bench`, and how the demo's model was trained


@pytest.fixture
def rng():
    """A generator that draws the same numbers in each run."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def tta_data():
    """The folder of real images (``cifar10_test_jpeg.npz`` and more) that CI and a bare clone lack."""
    folder = Path(os.environ.get("TTA_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set TTA_DATA to the folder that holds it")
    return folder
