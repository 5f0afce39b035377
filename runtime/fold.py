"""Writes an adapted model as a plain ONNX file: slots folded in, standard operators only."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
from safetensors.numpy import load_file

from tta.bundle import Bundle
from tta.errors import TtaError
from tta.records import Array, State
from tta.runtime.session import InferSession, options

TOLERANCE = 1e-3  # of the largest output: folding rounds


def fold(bundle: Bundle, state: State | None, path: str | Path) -> Path:
    """Write the model with a state's slots as one ONNX file that any runtime reads.

    onnxruntime's own basic optimization inlines the layer functions and folds norms into convolutions, so
    the device needs no onnx. The file is checked against the served session before it gets its name.

    Args:
        bundle: the bundle.
        state: the adapted state, None for the source model.
        path: the file to write.

    Raises:
        TtaError: the file cannot be written, or the folded model answers differently.
    """
    target = Path(path)
    slots = bundle.source_slots if state is None else state.slots
    try:
        with tempfile.TemporaryDirectory(dir=_folder(target), prefix=".fold-") as scratch:
            draft = Path(scratch) / "model.onnx"
            _write(bundle, slots, draft)
            _check(bundle, slots, draft)
            draft.replace(target)
    except OSError as error:
        raise TtaError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def _write(bundle: Bundle, slots: Mapping[str, Array], draft: Path) -> None:
    """Have onnxruntime write the model that it would run."""
    made = options()
    made.optimized_model_filepath = str(draft)
    made.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    weights = {**load_file(bundle.path / "weights.safetensors"), **slots}
    names = list(bundle.manifest.external["infer"])
    values = [ort.OrtValue.ortvalue_from_numpy(weights[name]) for name in names]
    made.add_external_initializers(names, values)  # else the draft would point at files
    ort.InferenceSession(str(bundle.graph("infer")), made, providers=["CPUExecutionProvider"])
    draft.write_bytes(_standard_opset(draft.read_bytes()))


def _folder(target: Path) -> Path:
    if not target.parent.is_dir():
        raise TtaError(f"cannot write {target}: there is no folder {target.parent}")
    if target.is_dir():
        raise TtaError(f"cannot write {target}: it is a folder")
    return target.parent


def _check(bundle: Bundle, slots: Mapping[str, Array], draft: Path) -> None:
    spec = bundle.manifest.input
    shape = [1, *(d or 32 for d in spec.sample)]
    x = np.random.default_rng(0).normal(size=shape).astype(spec.dtype)
    want = InferSession(bundle, slots).run(x)
    session = ort.InferenceSession(str(draft), options(), providers=["CPUExecutionProvider"])
    got = dict(zip([o.name for o in session.get_outputs()], session.run(None, {spec.name: x})))
    for name, expected in want.items():
        off = float(np.abs(got[name] - expected).max()) / max(1.0, float(np.abs(expected).max()))
        if not off <= TOLERANCE:
            raise TtaError(f"the folded model's {name} is off by {off:.1e}; nothing was written")


_OPSET_IMPORT = 8  # field of ModelProto, and 1 is the domain field within it


def _standard_opset(model: bytes) -> bytes:
    """The serialized ONNX model without the imports of domains that it no longer uses.

    onnxruntime lists every domain it knows, and other runtimes refuse some of them. Read from the wire
    format, since the device has no onnx: a model is a sequence of (key, value) with key = field·8 + type.
    """
    out, at = bytearray(), 0
    while at < len(model):
        start = at
        key, at = _varint(model, at)
        if key & 7 == 2:  # length-delimited
            size, at = _varint(model, at)
            value = model[at : at + size]
            at += size
            if key >> 3 == _OPSET_IMPORT and value[:1] == b"\x0a" and value[1] > 0:
                continue
        elif key & 7 == 0:
            _, at = _varint(model, at)
        else:
            at += {1: 8, 5: 4}[key & 7]
        out += model[start:at]
    return bytes(out)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
