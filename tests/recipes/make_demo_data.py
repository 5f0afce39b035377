"""Write the demo's images: ``python -m tests.recipes.make_demo_data``.

``tta/demo/fashion_test.npz`` is a stratified subset of the test set, in random order;
``fashion_calibration.npz`` beside this file is what the checkpoint never saw of the training set, and
``fashion_drift.npz`` test images that the demo does not show: drift detection needs more frames than were
held out.
"""

from pathlib import Path

import numpy as np

from tests.models.fashion import CALIBRATION, DRIFT
from tests.recipes.train_fashion import split

DEMO = Path(__file__).parents[2] / "tta" / "demo" / "fashion_test.npz"
PER_CLASS = 200
PER_CLASS_DRIFT = 256
NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def main() -> None:
    """Choose, shuffle, save, say the sizes."""
    rng = np.random.default_rng(0)
    images, labels = split("test")
    chosen = np.concatenate(
        [rng.choice(np.flatnonzero(labels == k), PER_CLASS, False) for k in range(len(NAMES))]
    )
    chosen = rng.permutation(chosen)
    others = np.setdiff1d(np.arange(len(labels)), chosen)
    apart = np.random.default_rng(1)
    more = [
        apart.choice(others[labels[others] == k], PER_CLASS_DRIFT, False) for k in range(len(NAMES))
    ]
    more = apart.permutation(np.concatenate(more))
    np.savez_compressed(DRIFT, images=images[more], labels=labels[more])
    np.savez_compressed(DEMO, images=images[chosen], labels=labels[chosen], names=np.array(NAMES))
    images, labels = split("calibration")
    np.savez_compressed(CALIBRATION, images=images, labels=labels)
    for path in (DEMO, CALIBRATION, DRIFT):
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
