"""Writes the graphs and their weights: every tensor of some size once, in one safetensors file.

The graphs' initializers point into that file by offset, as ONNX external data, so ``infer.onnx`` runs
alone in any onnxruntime.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
from safetensors.numpy import save_file

from tta.errors import ExportError
from tta.export.operators import INLINE_BYTES
from tta.records import Array

WEIGHTS = "weights.safetensors"


def write_graphs(folder: Path, graphs: Mapping[str, ir.Model], slots: Mapping[str, Array]) -> None:
    """Write ``<name>.onnx`` for each graph and the weights they share.

    Args:
        folder: the bundle's folder; it exists.
        graphs: graphs by name; a name may hold one slash.
        slots: source values of all slots; they are stored even where no graph holds them.
    """
    tensors: dict[str, Array] = {name: np.ascontiguousarray(v) for name, v in slots.items()}
    stored: set[ir.Value] = set()
    for model in graphs.values():
        for value in model.graph.initializers.values():
            assert value.const_value is not None and value.name is not None
            array = value.const_value.numpy()
            if value.name not in slots and (
                array.nbytes < INLINE_BYTES or array.dtype != np.float32
            ):
                continue
            known = tensors.setdefault(value.name, np.ascontiguousarray(array))
            if known is not array and not np.array_equal(known, array):
                raise ExportError(f"two tensors are called {value.name!r}; rename one in the model")
            stored.add(value)
    save_file(tensors, folder / WEIGHTS)
    places = _places(folder / WEIGHTS)
    for name, model in graphs.items():
        path = folder / f"{name}.onnx"
        path.parent.mkdir(exist_ok=True)
        location = "../" * name.count("/") + WEIGHTS
        for value in model.graph.initializers.values():
            if value in stored and value.name is not None:
                offset, length = places[value.name]
                old = value.const_value
                assert old is not None
                value.const_value = ir.ExternalTensor(
                    location,
                    offset,
                    length,
                    old.dtype,
                    shape=ir.Shape(list(old.shape.numpy())),
                    name=value.name,
                    base_dir=folder,
                )
        proto = ir.to_proto(model)
        path.write_bytes(proto.SerializeToString(deterministic=True))


def _places(path: Path) -> dict[str, tuple[int, int]]:
    """Offset and length in bytes of each tensor in a safetensors file."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    return {
        name: (
            8 + size + entry["data_offsets"][0],
            entry["data_offsets"][1] - entry["data_offsets"][0],
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }


def external_names(model: ir.Model) -> Iterable[str]:
    """Names of the initializers that live in the weights file."""
    return [
        name
        for name, value in model.graph.initializers.items()
        if isinstance(value.const_value, ir.ExternalTensor)
    ]
