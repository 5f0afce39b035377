"""What ``tta explain`` writes: figures by step, layer and frame as JSON, pictures, and one page of it all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from tta.evaluation.picture import data_uri, png
from tta.explanation.attribution import PARTS, Explanation
from tta.explanation.heat import half
from tta.explanation.overlay import beside, hottest, over, picture_of, top_of, window
from tta.explanation.witness import Round, Watched
from tta.records import Array

MEANING: Mapping[str, str] = {
    "statistics": "what moved means and variances of the norms: values unlike those that the state expects",
    "gradient": "what moved trained scales, biases and modulators: the gradient of the objective (NormGrad)",
    "hebbian": "what moved Hebbian weights: activity before and behind the layer, no gradient needed",
}
STYLE = """
:root { color-scheme: light dark; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 1040px; font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 2rem 0 .2rem; }
p { max-width: 46rem; margin: .3rem 0 .7rem; } figure { margin: 0; } figcaption { font-size: .85rem; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; } .row figure { flex: 0 1 224px; }
.row figure.wide { flex-basis: 480px; } .row img, .row svg { width: 100%; height: auto; display: block; }
.row svg { background: #fff; }
td { padding: .05rem .7rem .05rem 0; font-size: .88rem; } th { text-align: left; }
.bar { display: inline-block; height: .7rem; background: #c24e00; min-width: 1px; }
"""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One picture: its file's ending, its bytes, and its element in a page."""

    ending: str
    data: bytes
    element: str


def to_json(watched: Watched, about: Mapping[str, Any]) -> dict[str, Any]:
    """All figures; places are shares of the input's sides, row and column, or of the window's time."""
    return {**about, "steps": [_step(made, e) for made, e in watched.steps]}


def _step(made: Round, e: Explanation) -> dict[str, Any]:
    decision = made.decision
    frames = []
    for k, frame in enumerate(made.frames):
        parts = {
            name: {"share": _short(part.frames[k]), **_where(part.heat[k])}
            for name, part in e.parts.items()
        }
        frames.append({"seq": frame.seq, "t_s": frame.t_s, "parts": parts})
    return {
        "step": e.step,
        "decision": None if decision is None else decision.action,
        "reason": "" if decision is None else decision.reason,
        "parts": {name: _where(part.place) for name, part in e.parts.items()},
        "layers": [
            {
                "layer": m.layer,
                "kind": m.kind,
                "part": PARTS[m.kind],
                "share": _short(m.share),
                "change": _short(m.change),
                "size": _short(m.size),
                "placed": m.heat is not None,
            }
            for m in e.layers
        ],
        "frames": frames,
    }


def _where(heat: Array) -> dict[str, Any]:
    return {"hottest": hottest(heat), "half": _short(half(heat))}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


class Pictures:
    """Draws steps, all parts to the same scale each.

    Args:
        steps: as watched.
        preprocess: the stream's, which knows which part of a frame the model sees.
    """

    def __init__(self, steps: Sequence[tuple[Round, Explanation]], preprocess: object) -> None:
        self._preprocess = preprocess
        self._tops: dict[str, float] = {}
        self._places: dict[str, float] = {}
        for name in PARTS.values():
            parts = [e.parts[name] for _, e in steps if name in e.parts]
            if parts:
                self._tops[name] = top_of(np.concatenate([p.heat for p in parts]))
                self._places[name] = top_of(np.mean([p.place for p in parts], axis=0))

    def frame(self, made: Round, e: Explanation, k: int) -> dict[str, Drawn]:
        """One frame, by part."""
        return {
            name: self._drawn(made, k, part.heat[k], self._tops[name])
            for name, part in e.parts.items()
        }

    def file(self, made: Round, e: Explanation, k: int) -> Drawn | None:
        """One frame with its parts side by side, as a file; None where the step has no place."""
        found = picture_of(made.frames[k], made.batch[k], self._preprocess)
        if not e.parts:
            return None
        if found is None:
            name = next(iter(e.parts))
            return self._drawn(made, k, e.parts[name].heat[k], self._tops[name])
        image, seen = found
        row = [over(image, part.heat[k], self._tops[name], seen) for name, part in e.parts.items()]
        return Drawn("png", png(beside(row)), "")

    def whole(self, steps: Sequence[tuple[Round, Explanation]]) -> dict[str, Drawn]:
        """All steps together, over the last frame, by part."""
        made = steps[-1][0]
        drawn = {}
        for name, top in self._places.items():
            place = np.mean([e.parts[name].place for _, e in steps if name in e.parts], axis=0)
            drawn[name] = self._drawn(made, len(made.batch) - 1, place, top)
        return drawn

    def _drawn(self, made: Round, k: int, heat: Array, top: float) -> Drawn:
        found = picture_of(made.frames[k], made.batch[k], self._preprocess)
        if found is not None:
            image = over(found[0], heat, top, found[1])
            return Drawn("png", png(image), f'<img src="{data_uri(image)}" alt="heat">')
        x = made.batch[k]
        text = window(x if x.ndim == 2 else x.reshape(1, -1), heat, top)
        return Drawn("svg", text.encode(), text)


def page(watched: Watched, about: Mapping[str, Any], notes: Sequence[str]) -> str:
    """The whole document: nothing is asked of a network."""
    steps = watched.steps
    pictures = Pictures(steps, watched.stream.preprocess)
    title = f"Where {'a step' if len(steps) == 1 else f'{len(steps)} steps'} of {about['adapter']} came from"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(about['bundle'])}, {escape(about['source'])}</p>",
    ]
    body += [f"<p>{escape(note)}</p>" for note in notes]
    whole = pictures.whole(steps)
    if whole:
        body.append("<h2>Over all frames</h2>")
        body.append(
            "<p>Contributions of all frames to a step, added up place by place, drawn over the last frame. "
            "What stays in one place, such as a drop on the lens, adds up; what moves averages out.</p>"
        )
        body.append(_row({n: f"{n}: {MEANING[n]}" for n in whole}, whole))
    body.append(_layers(steps))
    for made, e in steps:
        decision = f", {made.decision.action}: {made.decision.reason}" if made.decision else ""
        body.append(f"<h2>Step {e.step}{escape(decision)}</h2>")
        for k, frame in enumerate(made.frames):
            drawn = pictures.frame(made, e, k)
            said = {
                n: f"frame {frame.seq}, {n}: {100 * e.parts[n].frames[k]:.1f} % of the step"
                for n in drawn
            }
            body.append(_row(said, drawn))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _row(said: Mapping[str, str], drawn: Mapping[str, Drawn]) -> str:
    figures = [
        f'<figure class="{"wide" if d.ending == "svg" else "narrow"}">{d.element}'
        f"<figcaption>{escape(said[name])}</figcaption></figure>"
        for name, d in drawn.items()
    ]
    return f'<div class="row">{"".join(figures)}</div>'


def by_layer(steps: Sequence[tuple[Round, Explanation]]) -> list[tuple[str, str, float, float]]:
    """Part, layer, share and change of each layer, means over the steps, in the order of the model."""
    found: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for part in dict.fromkeys(PARTS.values()):
        for _, e in steps:
            for m in e.layers:
                if PARTS[m.kind] == part:
                    found.setdefault((part, m.layer, m.kind), []).append((m.share, m.change))
    return [
        (
            part,
            layer if kind != "modulator" else f"{layer} (modulator)",
            *np.mean(v, axis=0).tolist(),
        )
        for (part, layer, kind), v in found.items()
    ]


def _layers(steps: Sequence[tuple[Round, Explanation]]) -> str:
    rows = by_layer(steps)
    most = max((share for *_, share, _ in rows), default=1.0)
    lines = [
        f"<tr><td>{part}</td><td>{escape(layer)}</td><td>{100 * share:.1f} %</td>"
        f'<td><span class="bar" style="width:{200 * share / most:.0f}px"></span></td>'
        f"<td>{change:.2g}</td></tr>"
        for part, layer, share, change in rows
    ]
    head = "<tr><th>part</th><th>layer</th><th>share of the part</th><th></th><th>change</th></tr>"
    note = (
        "<p>Change: of trained and Hebbian slots, |new - old|/|old|; of statistics, how far the batch's lie "
        "from the state's, root mean square, in deviations of the state.</p>"
    )
    return f"<h2>By layer</h2>{note}<table>{head}{''.join(lines)}</table>"


def write(
    folder: Path, watched: Watched, about: Mapping[str, Any], notes: Sequence[str]
) -> list[Path]:
    """Write ``explain.json``, ``explain.html`` and a picture of each frame; returns the first two."""
    pictures = Pictures(watched.steps, watched.stream.preprocess)
    for made, e in watched.steps:
        for k, frame in enumerate(made.frames):
            if (drawn := pictures.file(made, e, k)) is not None:
                (folder / f"frame-{frame.seq:06d}.{drawn.ending}").write_bytes(drawn.data)
    paths = [folder / "explain.json", folder / "explain.html"]
    paths[0].write_text(
        json.dumps({**to_json(watched, about), "notes": list(notes)}, indent=1) + "\n"
    )
    paths[1].write_text(page(watched, about, notes), encoding="utf-8")
    return paths


__all__ = ["MEANING", "Pictures", "by_layer", "page", "to_json", "write"]
