"""A face detector of another producer: its decoder in the graph says what its own code says."""

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.recipes import make_centerface
from tta.errors import SourceError
from tta.runtime.session import options
from tta.tasks import load


def test_boxes_in_the_graph_are_those_of_its_own_code(rng):
    try:
        content = make_centerface.source()
    except SourceError as error:
        pytest.skip(str(error))
    model = make_centerface.composed(content)
    onnx.checker.check_model(model)
    x = rng.uniform(0, 255, (2, 3, 224, 224)).astype(np.float32)
    sessions = [
        onnxruntime.InferenceSession(m, options(1), providers=["CPUExecutionProvider"])
        for m in (model.SerializeToString(), _open_sized(content))
    ]
    (boxes,), (heat, size, offset, _) = (s.run(None, {s.get_inputs()[0].name: x}) for s in sessions)
    assert load("detect").unfit(boxes.shape[1:], 1) == "" and boxes.shape == (2, 3136, 5)
    frame, row, column = 1, 17, 40
    at = boxes[frame, row * 56 + column]
    high, wide = np.exp(size[frame, :, row, column]) * 4
    down, right = offset[frame, :, row, column]
    want = [(column + right + 0.5) * 4, (row + down + 0.5) * 4, wide, high]
    assert np.allclose(at[:4], want, rtol=1e-4)
    assert np.isclose(1 / (1 + np.exp(-at[4])), heat[frame, 0, row, column], rtol=1e-3)


def _open_sized(content):
    """The file as its own code opens it: for inputs of any size."""
    model = onnx.load_from_string(content)
    for value in (model.graph.input[0], *model.graph.output):
        for axis in (0, 2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}.{axis}"
    return model.SerializeToString()
