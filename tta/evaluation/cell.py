"""One cell of an evaluation: a method under a protocol, image by image.

The method is fed directly, batch by batch, as published protocols do; there is no governor and no monitor.
Each image is answered by the source model, by the outputs of the step on its batch, and where asked
by the state after that step.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.categorical import log_softmax
from tta.corruptions import check_severity, corrupt, find, standard
from tta.errors import TtaError
from tta.evaluation.protocols import EvaluationProtocol, Setting, Visit, build
from tta.evaluation.reliability import calibration_error
from tta.protocols import Run
from tta.records import Array, Frame, State
from tta.runtime.datasets import Dataset, open_dataset
from tta.runtime.method import check_coupling, check_needs, fewest, make_adapter, source_state
from tta.runtime.preprocess import build as preprocessing
from tta.runtime.session import AdaptSession, InferSession

HASHED = 64  # items whose bytes go into the hash of the data


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of a cell.

    Attributes:
        rows: one a visit, ready for JSON; errors and calibration errors are in percent.
        images: arrays over all images in stream order: ``visit``, ``item``, ``label``, ``frozen``,
            ``pre``, ``post`` (-1 where not asked for), ``frozen_confidence``, ``pre_confidence``.
    """

    rows: list[dict[str, Any]]
    images: Mapping[str, Array]


class Material:
    """Labelled data and the source model's answers to them, shared by the cells of one bundle.

    Args:
        bundle: of a classifier.
        data: what ``sim://`` takes, or a ``Dataset`` of images or windows.
        limit: the first so many items only.
        seed: of what chance does to an image; the same image looks the same in all protocols.

    Raises:
        TtaError: no classifier, or data without labels.
        SourceError: there are no such data.
    """

    def __init__(
        self, bundle: Bundle, data: str | Dataset, limit: int | None = None, seed: int = 0
    ) -> None:
        if bundle.manifest.task != "classify":
            raise TtaError(
                f"methods are judged by their errors on classes, but the task of {bundle.manifest.name} "
                f"is {bundle.manifest.task}"
            )
        self.bundle, self.seed = bundle, seed
        self.data = open_dataset(data) if isinstance(data, str) else data
        if self.data.kind == "sensor" and not self.data.windows:
            raise TtaError(
                f"{self.data.name} is a recording of single samples: cut it into labelled windows first "
                "(a .npz with windows and labels)"
            )
        count = len(self.data) if limit is None else min(limit, len(self.data))
        if self.data.labels is None or not count:
            raise TtaError(f"{self.data.name} has no labels, so no method can be judged on it")
        self.labels = np.asarray(self.data.labels[:count], np.int64)
        classes = bundle.manifest.outputs[bundle.manifest.primary][-1]
        if self.labels.max() >= classes:
            raise TtaError(
                f"{self.data.name} has a class {self.labels.max()}, but {bundle.manifest.name} tells "
                f"{classes} apart: these data are not the model's"
            )
        self._infer = InferSession(bundle)
        self._make = preprocessing(bundle.manifest.preprocess, bundle.manifest.input)
        self._frozen: dict[tuple[str, int], tuple[Array, Array]] = {}
        some = np.linspace(0, count - 1, min(count, HASHED)).astype(int)
        readings = self.data.read(some, np.zeros(len(some), int))
        self._scale = readings.std(axis=(0, 2)) if self.data.kind == "sensor" else None
        digest = hashlib.sha256(f"{self.data.name}\0{count}\0".encode())
        for part in (self.labels, readings):
            digest.update(np.ascontiguousarray(part).tobytes())
        self.hash = digest.hexdigest()  # of name, count, labels and evenly spaced items

    def inputs(self, items: Array, corruption: str, severity: int) -> Array:
        """Model inputs ``(n, ...)`` of some items under a corruption."""
        readings = self.data.read(items, np.zeros(len(items), int))
        if severity:
            readings = corrupt(
                readings, corruption, severity, self.seed, first=items, scale=self._scale
            )
        samples = [self._make(Frame(reading, 0.0, k)) for k, reading in enumerate(readings)]
        return np.stack([sample for sample in samples if sample is not None])

    def frozen(
        self, items: Array, corruption: str, severity: int, inputs: Array
    ) -> tuple[Array, Array]:
        """The source model's classes and confidences, each image asked once."""
        key = (corruption, severity)
        if key not in self._frozen:
            self._frozen[key] = (
                np.full(len(self.labels), -1),
                np.zeros(len(self.labels), np.float32),
            )
        classes, confidence = self._frozen[key]
        if (classes[items] < 0).any():
            logits = self._infer.run(inputs)[self.bundle.manifest.primary]
            classes[items], confidence[items] = answers(logits)
        return classes[items], confidence[items]


def answers(logits: Array) -> tuple[Array, Array]:
    """Classes ``(n,)`` and confidences ``(n,)`` of logits ``(n, K)``."""
    log_p = log_softmax(logits)
    return logits.argmax(1), np.exp(log_p.max(1)).astype(np.float32)


def evaluate(
    material: Material,
    protocol: str | EvaluationProtocol,
    adapter: str,
    *,
    batch: int = 200,
    seed: int = 0,
    corruptions: str | Sequence[str] = "all",
    severity: int = 5,
    post: bool = False,
    session: AdaptSession | None = None,
) -> Outcome:
    """Run one cell.

    Args:
        material: the data and the bundle.
        protocol: ``name`` or ``name:argument``.
        adapter: ``name?option=value``.
        batch: frames a step.
        seed: of the order and of what the protocol leaves to chance.
        corruptions: ``all`` fifteen standard ones, or names.
        severity: the largest, 1 to 5.
        post: also answer each batch with the state after its step, one more forward.
        session: step graphs of the bundle, where a caller keeps them.

    Raises:
        TtaError, NotFoundError: the method does not fit bundle or batch, or the protocol does not fit
            the data; nothing has run then.
    """
    bundle = material.bundle
    method, text = make_adapter(adapter), protocol if isinstance(protocol, str) else repr(protocol)
    check_needs(method, bundle)
    check_coupling(method, bundle, batch)
    made = build(protocol) if isinstance(protocol, str) else protocol
    chosen = corruption_names(corruptions)
    for name in chosen:
        check_severity(name, severity)
    setting = Setting(material.labels, chosen, severity, len(material.labels), seed)
    visits = list(made.visits(setting))
    run = (session or AdaptSession(bundle)).run
    common = {
        "bundle": bundle.hash,
        "model": bundle.manifest.name,
        "data": material.data.name,
        "data_hash": material.hash,
        "adapter": adapter,
        "protocol": text,
        "resets": made.resets,
        "serve": f"batch-{getattr(method, 'predict_with', 'pre')}",
        "batch": batch,
        "seed": seed,
        "tta": version("tta-edge"),
        "machine": f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}",
    }
    asked = _Asked(material, method, run, fewest(method, bundle), batch, post)
    if visits:
        asked.load(visits[0])
    rows: list[dict[str, Any]] = []
    parts: list[dict[str, Array]] = []
    state = source_state(method, bundle)
    for number, each in enumerate(visits):
        if each.reset:
            state = source_state(method, bundle)
        spent_s, found = 0.0, []
        for start in range(0, len(each.items), batch):
            state, images, took_s = asked.answer(state, each, start)
            spent_s += took_s
            found.append(images)
        images = {name: np.concatenate([f[name] for f in found]) for name in found[0]}
        parts.append({"visit": np.full(len(each.items), number), **images})
        rows.append(
            {
                **common,
                "visit": each.name,
                "severity": each.severity,
                "images": len(each.items),
                **_figures(images, post),
                "ms_per_frame": 1e3 * spent_s / len(each.items),
                "steps": int(state.step),
            }
        )
    return Outcome(rows, {name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


@dataclass(frozen=True, slots=True)
class _Asked:
    """A method that answers the batches of visits."""

    material: Material
    method: Any
    run: Run
    least: int  # frames that its step takes
    batch: int
    post: bool

    def load(self, each: Visit) -> None:
        """Have the method load its graphs, by a step on the first batch of which nothing is kept."""
        x, _ = _met(self.material, each, 0, self.batch)
        if len(x) >= self.least:
            self.method.adapt(source_state(self.method, self.material.bundle), x, self.run)

    def answer(
        self, state: State, each: Visit, start: int
    ) -> tuple[State, dict[str, Array], float]:
        """The state after the batch of a visit that begins at ``start``, its images' arrays, and seconds."""
        items = each.items[start : start + self.batch]
        x, frozen = _met(self.material, each, start, self.batch)
        primary = self.material.bundle.manifest.primary
        began = time.perf_counter()
        if len(items) < self.least:  # a rest too small for batch statistics
            after, outputs = state, self.run("batch", x, state.slots, alpha=0.0).outputs
        else:
            after, outputs = self.method.adapt(state, x, self.run)
        took_s = time.perf_counter() - began
        pre = answers(outputs[primary])
        if not self.post:
            late = np.full(len(items), -1)
        elif after is state:  # nothing was learned: the answer stays
            late = pre[0]
        else:
            share = _share(self.method, len(items))
            late = answers(self.run("batch", x, after.slots, alpha=share).outputs[primary])[0]
        images = {
            "item": items,
            "label": self.material.labels[items],
            "frozen": frozen[0],
            "pre": pre[0],
            "post": late,
            "frozen_confidence": frozen[1],
            "pre_confidence": pre[1],
        }
        return after, images, took_s


def _figures(images: Mapping[str, Array], post: bool) -> dict[str, float | None]:
    """Errors and calibration errors of a visit in percent."""
    label = images["label"]
    wrong = {k: 100 * float((images[k] != label).mean()) for k in ("frozen", "pre", "post")}
    sure = {
        k: 100 * calibration_error(images[f"{k}_confidence"], images[k] == label)
        for k in ("frozen", "pre")
    }
    return {
        "frozen_error": wrong["frozen"],
        "error": wrong["pre"],
        "post_error": wrong["post"] if post else None,
        "frozen_ece": sure["frozen"],
        "ece": sure["pre"],
    }


def _share(method: Any, n: int) -> float:
    """How much batch statistics count in what a method serves."""
    if callable(share := getattr(method, "share", None)):
        return float(share(n))
    given = getattr(method, "alpha", None)
    if given is None:
        return 1.0 if getattr(method, "couples", True) else 0.0
    return float(given)


def _met(
    material: Material, each: Visit, start: int, batch: int
) -> tuple[Array, tuple[Array, Array]]:
    """Inputs of a batch of a visit, and what the source model says of them."""
    items, choice = (a[start : start + batch] for a in (each.items, each.choice))
    inputs: Array | None = None
    classes, confidence = np.zeros(len(items), int), np.zeros(len(items), np.float32)
    for k in np.unique(choice):
        mine = np.flatnonzero(choice == k)
        name = each.corruptions[k] if each.corruptions else "none"
        x = material.inputs(items[mine], name, each.severity)
        inputs = np.empty((len(items), *x.shape[1:]), x.dtype) if inputs is None else inputs
        inputs[mine] = x
        classes[mine], confidence[mine] = material.frozen(items[mine], name, each.severity, x)
    assert inputs is not None
    return inputs, (classes, confidence)


def corruption_names(given: str | Sequence[str]) -> tuple[str, ...]:
    """``all``, or names joined by commas, as a tuple; each is known."""
    listed = given.split(",") if isinstance(given, str) else list(given)
    names = tuple(standard()) if listed == ["all"] else tuple(name.strip() for name in listed)
    for name in names:
        find(name)
    return names


__all__ = ["Material", "Outcome", "answers", "corruption_names", "evaluate"]
