"""What a machine computes with the demo's bundle, for another to compare: ``work.py OUT.npz``.

It needs the runtime alone. Frames are answered by ``infer.onnx``, and by an int8 copy of it if there is one;
every method that suits the bundle adapts one batch; a governed stream goes through clean and foggy frames and
back. With ``--frames N --rounds M`` nothing is written: N frames are answered and M rounds run, for counting.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime

from tta import registry
from tta.bundle import Bundle
from tta.errors import TtaError
from tta.records import Frame
from tta.runtime.loop import advance
from tta.runtime.stream import Model, Stream

BATCH, SHOWN = 16, 8


def readings(shift: str) -> np.ndarray:
    """The demo's pictures; fog is a blend with a bright field, the same arithmetic everywhere."""
    with np.load(files("tta.demo") / "fashion_test.npz") as data:
        images = data["images"][:96]
    return images if shift == "none" else np.uint8(images // 4 + 150)


def adapted(model: Model, name: str) -> tuple[dict[str, np.ndarray], list[int]]:
    """Slots after one batch under a method, ungoverned, and the answers to it."""
    stream = Stream(model, name, governor="always", batch=BATCH, metrics=[], quarantine="none")
    inputs = np.stack([stream.preprocess(Frame(x, 0.0, 0)) for x in readings("fog")[:BATCH]])
    _, answers = stream.adapt(inputs)
    return dict(stream.current.slots), [a.label for a in answers]


def main() -> None:
    """Compute, and write it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--int8", type=Path)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--rounds", type=int, default=0)
    given = parser.parse_args()
    model = Model(Bundle(str(files("tta.demo") / "fashion.tta")))
    plain = Stream(model, "none", metrics=[], quarantine="none")
    inputs = np.stack([plain.preprocess(Frame(x, 0.0, 0)) for x in readings("none")])
    if given.frames is not None:
        stream = Stream(
            model, "bn_stats", governor="always", batch=BATCH, metrics=[], quarantine="none"
        )
        stream.adapt(inputs[:BATCH])  # the step's session is there
        for k in range(given.frames):
            plain.predict(inputs[k % len(inputs)])
        for _ in range(given.rounds):
            stream.adapt(inputs[:BATCH])
        return
    found: dict[str, np.ndarray] = {"inputs": inputs}
    for name, value in model.source.run(inputs).items():
        found[f"infer/{name}"] = value
    if given.int8:
        session = onnxruntime.InferenceSession(str(given.int8), providers=["CPUExecutionProvider"])
        feed = session.get_inputs()[0].name
        rows = [session.run(None, {feed: x[None]})[0][0] for x in inputs]
        found["int8/logits"] = np.stack(rows)
    for name in registry.names("tta.adapters"):
        try:
            slots, labels = adapted(model, name)
        except TtaError:
            continue  # it asks for what the bundle does not have
        found[f"labels/{name}"] = np.array(labels)
        for slot, value in slots.items():
            found[f"slots/{name}/{slot}"] = value
    stream = Stream(model, "auto")
    labels, actions = [], []
    frames = np.concatenate([readings("none")[:32], readings("fog"), readings("none")[:48]])
    for k, image in enumerate(frames):
        for result in advance(stream, Frame(image, k / 30, k)):
            labels.append(result.prediction.label if result.prediction else -1)
            if result.report.decision:
                actions.append(f"{k} {result.report.decision.action}")
    found["stream/labels"], found["stream/actions"] = np.array(labels), np.array(actions)
    found["versions"] = np.array([onnxruntime.__version__, np.__version__])
    np.savez(given.out, **found)


if __name__ == "__main__":
    main()
