"""Export the CIFAR-10 source model: ``TTA_DATA=… python -m tests.recipes.make_cifar_bundle cifar.tta``.

Calibrated with the 4,096 training images that the checkpoint has never seen.
"""

import argparse

import torch

from tests.models.cifar import LABELS, MEAN, STD, factory, preprocess
from tests.recipes.describe_bundle import say
from tests.recipes.train_cifar import split
from tta.export import to_bundle
from tta.export.drift_calibration import DriftOptions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--explain", action="store_true", help="graphs for tta explain as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, _ = factory()
    images, targets = split("calibration")
    samples = preprocess(images)
    exported = to_bundle(
        model,
        samples[:4],
        arguments.out,
        samples=samples.numpy(),
        labels=LABELS,
        preprocess={
            "kind": "image",
            "channels": 3,
            "layout": "CHW",
            "colour": "RGB",
            "scale": 1 / 255,
            "mean": list(MEAN),
            "std": list(STD),
        },
        overwrite=True,
        explain=arguments.explain,
        targets=targets,
        drift=DriftOptions(kinds=True),
    )
    say(exported, len(samples))


if __name__ == "__main__":
    main()
