"""Export EfficientNet-Lite0: ``python -m tests.recipes.make_lite0_bundle lite0.tta --stream photos.npz``.

Needs ``TTA_DATA`` and ``sh tests/recipes/pip-data.sh``. Calibrated with ``CALIBRATION`` of the sample's
photographs; ``--stream`` writes the others. They are a choice of 500 classes, but probably of ImageNet's
training split, so accuracy on them is not validation accuracy.
"""

import argparse

import numpy as np
import torch

from tests.models.lite0 import MEAN, STD, factory, preprocess
from tests.recipes.describe_bundle import say
from tests.recipes.train_cifar import read_jpegs
from tta.export import to_bundle

CALIBRATION = 128
SIDE = 224


def photographs() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Stream images and labels, calibration images and labels: (N, 224, 224, 3) centre crops, (N,)."""
    images, labels = read_jpegs("imagenet_sample", SIDE)
    order = np.random.default_rng(0).permutation(len(images))
    stream, held = order[:-CALIBRATION], order[-CALIBRATION:]
    return images[stream], labels[stream], images[held], labels[held]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--explain", action="store_true", help="graphs for tta explain as well")
    parser.add_argument("--stream", metavar="NPZ", help="write the other photographs there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, _ = factory()
    images, labels, held, targets = photographs()
    if arguments.stream:
        np.savez_compressed(arguments.stream, images=images, labels=labels)
        print(f"{arguments.stream}: {images.shape}")
    samples = preprocess(held)
    exported = to_bundle(
        model,
        samples[:4],
        arguments.out,
        samples=samples.numpy(),
        labels=[f"class {k}" for k in range(1000)],
        hebbian=(),
        preprocess={
            "kind": "image",
            "channels": 3,
            "layout": "CHW",
            "colour": "RGB",
            "resize": SIDE,
            "crop": [SIDE, SIDE],
            "scale": 1.0,
            "mean": [MEAN] * 3,
            "std": [STD] * 3,
        },
        overwrite=True,
        explain=arguments.explain,
        targets=targets,
    )
    say(exported, len(samples))


if __name__ == "__main__":
    main()
