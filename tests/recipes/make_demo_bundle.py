"""Exports the demo's bundle, ``tta/demo/fashion.tta``, from the committed checkpoint.

``python -m tests.recipes.make_demo_bundle`` from the top folder; the result is the same each time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.models.fashion import CALIBRATION, DRIFT, MEAN, STD, factory
from tta.export import to_bundle
from tta.export.command import calibration_notes
from tta.export.drift_calibration import DriftOptions
from tta.kinds import unpack

TARGET = Path(__file__).parents[2] / "tta" / "demo" / "fashion.tta"


def main() -> None:
    torch.set_num_threads(1)
    model, example = factory()
    images, targets = [], []
    for path in (CALIBRATION, DRIFT):
        with np.load(path) as data:
            images.append(data["images"])
            targets.append(data["labels"])
    samples = ((np.concatenate(images).astype(np.float32) / 255 - MEAN) / STD)[:, None]
    with np.load(TARGET.parent / "fashion_test.npz") as data:
        labels = [str(name) for name in data["names"]]
    exported = to_bundle(
        model,
        example,
        TARGET,
        samples=samples.astype(np.float32),
        labels=labels,
        preprocess={
            "kind": "image",
            "channels": 1,
            "layout": "CHW",
            "colour": "GRAY",
            "scale": 1 / 255,
            "mean": [MEAN],
            "std": [STD],
        },
        overwrite=True,
        targets=np.concatenate(targets).astype(np.int64),
        drift=DriftOptions(kinds=True),
    )
    size = sum(f.stat().st_size for f in TARGET.rglob("*") if f.is_file())
    print(f"{TARGET.name}: {size / 1e6:.2f} MB, {len(exported.checks)} checks passed")
    known = exported.bundle.calibration()
    print(*calibration_notes(exported.bundle), sep="\n")
    print(unpack(known["drift.kinds.names"]), known["drift.kinds.confusion"].astype(int), sep="\n")
    print(exported.bundle.manifest.thresholds, exported.bundle.manifest.defaults)


if __name__ == "__main__":
    main()
