"""One cell of an evaluation: a method under a protocol, image by image.

Each image is answered by the source model, by the method as it is served, and where asked by the state
after the step on its batch. ``tta.evaluation.serving`` has the ways to serve.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.choice import AUTO, Choice, choose
from tta.corruptions import check_severity, find, standard
from tta.errors import TtaError
from tta.evaluation.machine import machine
from tta.evaluation.material import Material
from tta.evaluation.protocols import EvaluationProtocol, Setting, Visit, build
from tta.evaluation.reliability import calibration_error
from tta.evaluation.serving import ROUNDS, Direct, Serve, Streamed, answers
from tta.governor import MODES, Mode
from tta.manifest import Manifest
from tta.records import Array
from tta.runtime.buffer import make_buffer
from tta.runtime.method import check_coupling, check_needs, make_adapter
from tta.runtime.session import AdaptSession

COLUMNS = {
    "resets": "returns"
}  # of the governor; the column ``resets`` says what the protocol does


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of a cell.

    Attributes:
        rows: one a visit, ready for JSON; errors and calibration errors are in percent, and of labelled
            images.
        images: arrays over all frames in stream order: ``visit``, ``item`` (its number in the data),
            ``label`` (-1 of what shows no class), ``frozen``, ``pre`` (as served; -1 where the model said
            nothing finite), ``post`` (-1 where not asked for), ``frozen_confidence``, ``pre_confidence``,
            and ``clip`` where the data have clips.
    """

    rows: list[dict[str, Any]]
    images: Mapping[str, Array]


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
    serve: Serve = "batch",
    governor: Mode = "always",
    buffer: str = AUTO,
    brief: bool = False,
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
        serve: ``batch`` waits for a batch and answers it with the step's outputs; ``stream`` answers each
            frame at once.
        governor: ``always`` adapts on every batch; ``auto`` decides; ``off`` never adapts.
        buffer: which frames a step is on where each frame is answered at once, or ``auto``.
        brief: protocols that show the data many times over take a part of it each time.
        session: step graphs of the bundle, where a caller keeps them.

    Raises:
        TtaError, NotFoundError: the method does not fit bundle or batch, or the protocol does not fit
            the data; nothing has run then.
    """
    bundle = material.bundle
    text = protocol if isinstance(protocol, str) else repr(protocol)
    check_serve(serve, governor, post, buffer)
    taken = taken_for(bundle.manifest, adapter, buffer, batch, serve)
    method = make_adapter(taken.adapter)
    check_fit(method, bundle, taken, batch)
    made = build(protocol) if isinstance(protocol, str) else protocol
    chosen = corruption_names(corruptions)
    for name in chosen:
        check_severity(name, severity)
    setting = Setting(material.labels, chosen, severity, len(material.labels), seed, brief)
    visits = list(made.visits(setting))
    if serve == "batch" and governor == "always":
        run = (session or material.model.adapting).run
        server: Direct | Streamed = Direct(material, taken.adapter, run, post)
    else:
        server = Streamed(material, taken.adapter, batch, serve, governor, taken.buffer)
    common = {
        "bundle": bundle.hash,
        "model": bundle.manifest.name,
        "data": material.data.name,
        "data_hash": material.hash,
        "adapter": adapter,
        "protocol": text,
        "resets": made.resets,
        "serve": f"batch-{getattr(method, 'predict_with', 'pre')}" if serve == "batch" else serve,
        "governor": governor,
        "buffer": taken.buffer,
        "batch": batch,
        "seed": seed,
        "brief": brief,
        **machine(),
    }
    if visits:
        server.load(material.met(visits[0], 0, batch)[0])
    rows: list[dict[str, Any]] = []
    parts: list[dict[str, Array]] = []
    for number, each in enumerate(visits):
        if each.reset and number:
            server.begin()
        before, spent_s, found = Counter(server.rounds), 0.0, []
        for start in range(0, len(each.items), batch):
            images, took_s = _answered(material, server, each, start, start + batch)
            spent_s += took_s
            found.append(images)
        images = {name: np.concatenate([f[name] for f in found]) for name in found[0]}
        parts.append({"visit": np.full(len(each.items), number), **images})
        known = images["label"] >= 0
        rows.append(
            {
                **common,
                "visit": each.name,
                "severity": each.severity,
                "images": int(known.sum()),
                "frames": len(known),
                **_figures({name: values[known] for name, values in images.items()}, post),
                "ms_per_frame": 1e3 * spent_s / len(known),
                "steps": server.steps,
                **{COLUMNS.get(name, name): server.rounds[name] - before[name] for name in ROUNDS},
            }
        )
    material.answers.save()
    return Outcome(rows, {name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


def _answered(
    material: Material, server: Direct | Streamed, each: Visit, start: int, stop: int
) -> tuple[dict[str, Array], float]:
    """The arrays of some frames of a visit, and the seconds that their answers took."""
    items = each.items[start:stop]
    readings, (frozen, sure) = material.met(each, start, stop)
    said = server.answer(readings)
    images = {
        "item": material.chosen[items % len(material.chosen)],
        "label": material.label(items),
        "frozen": frozen,
        "pre": said.classes,
        "post": said.post,
        "frozen_confidence": sure,
        "pre_confidence": said.confidence,
    }
    if (clips := material.data.clips) is not None:
        images["clip"] = clips[images["item"]]
    return images, said.took_s


def _figures(images: Mapping[str, Array], post: bool) -> dict[str, float | None]:
    """Errors and calibration errors of a visit's labelled images in percent."""
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


def taken_for(
    manifest: Manifest, adapter: str, buffer: str, batch: int, serve: str = "stream"
) -> Choice:
    """Method and buffer of a cell, with what ``auto`` stands for put in its place."""
    return choose(manifest, adapter, buffer, batch=batch, apart=serve == "batch")


def check_fit(method: Any, bundle: Bundle, taken: Choice, batch: int) -> None:
    """Refuse a method that the bundle or the rounds of a buffer do not suit.

    Raises:
        TtaError: graphs are missing, or too few frames come to a step.
    """
    check_needs(method, bundle)
    check_coupling(method, bundle, make_buffer(taken.buffer, batch, bundle.manifest).least)


def check_serve(serve: str, governor: str, post: bool, buffer: str = AUTO) -> None:
    """Refuse a way to serve that there is none of.

    Raises:
        TtaError: an unknown mode, answers after the update where no method is fed directly, or a buffer that
            would choose none of the frames.
    """
    if serve == "batch" and buffer not in (AUTO, "batch"):
        raise TtaError(
            f"--buffer {buffer} chooses frames of a stream, but --serve batch learns from the batch that it "
            "answers: add --serve stream, or leave --buffer out"
        )
    if serve not in ("batch", "stream"):
        raise TtaError(f"serve is batch or stream, but is {serve!r}")
    if governor not in MODES:
        raise TtaError(f"governor is one of {', '.join(MODES)}, but is {governor!r}")
    if post and (serve, governor) != ("batch", "always"):
        raise TtaError(
            "answers after the update are there where batches wait and all are adapted on: leave --post out, "
            "or take --serve batch --governor always"
        )


def corruption_names(given: str | Sequence[str]) -> tuple[str, ...]:
    """``all``, or names joined by commas, as a tuple; each is known."""
    listed = given.split(",") if isinstance(given, str) else list(given)
    names = tuple(standard()) if listed == ["all"] else tuple(name.strip() for name in listed)
    for name in names:
        find(name)
    return names


__all__ = [
    "Material", "Outcome", "answers", "check_fit", "check_serve", "corruption_names", "evaluate", "taken_for",
]  # fmt: skip
