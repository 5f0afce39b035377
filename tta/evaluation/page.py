"""The timeline as one HTML file: pictures, style and script inside it, nothing asked of a network."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from tta.evaluation.panels import NARROW, WIDE, events, layers, losses, scaled, scores
from tta.evaluation.picture import VIRIDIS, data_uri, is_image, pixels
from tta.evaluation.record import Recording, Segment, finite
from tta.evaluation.summary import COLUMNS, MEANING, SegmentFigures, Summary, percent, points, table
from tta.evaluation.timeline import TITLES, Timeline
from tta.records import Array

TINY = 64  # pixels below which a picture is enlarged with sharp edges


def write_page(path: Path, recording: Recording, summary: Summary, view: Timeline) -> None:
    """Write the page."""
    path.write_text(page(recording, summary, view), encoding="utf-8")


def page(recording: Recording, summary: Summary, view: Timeline) -> str:
    """The whole document."""
    body = [
        f"<h1>{escape(view.title)}</h1>",
        f'<p class="verdict">{escape(view.verdict)}</p>',
        *_warnings(recording, summary),
        _gallery(view, summary),
        _losses(view, summary),
        _scores(view),
        _events(view),
        _layers(view),
        _table(summary),
        _about(recording),
    ]
    style = (files("tta.evaluation") / "page.css").read_text(encoding="utf-8")
    script = (files("tta.evaluation") / "page.js").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(view.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + '\n</main>\n<div id="readout" aria-live="off"></div>\n'
        + f'<script type="application/json" id="data">{_data(view, summary.unit)}</script>\n'
        + f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _warnings(recording: Recording, summary: Summary) -> list[str]:
    said = []
    if summary.measure != "error":
        said.append(f"There is no error curve: what is drawn is the {MEANING[summary.measure]}.")
    if summary.unlabelled:
        said.append(
            f"{summary.unlabelled} {summary.unit}s have no label, or span two; they count in no error."
        )
    if not recording.thresholds:
        said.append("The bundle has no calibrated thresholds, so nothing here can be called drift.")
    if skipped := recording.counts.get("skipped"):
        said.append(f"{skipped} frames could not be used and were skipped.")
    return [f'<p class="warning">{escape(text)}</p>' for text in said]


def _gallery(view: Timeline, summary: Summary) -> str:
    if not view.shown:
        return ""
    cards = [_card(view.segments[k], view.figures[k], k + 1) for k in view.shown]
    both = any(view.segments[k].before is not None for k in view.shown)
    note = (
        "The same frame before and after the shift, and what each model makes of the whole segment."
    )
    return (
        f"<h2>What the model sees</h2>\n<p class='note'>{note if both else note.split(',')[-1].strip()}</p>\n"
        f'<div class="gallery">{"".join(cards)}</div>'
    )


def _card(segment: Segment, figures: SegmentFigures, number: int) -> str:
    shown = []
    pair = [("before", segment.before), ("after", segment.after)]
    if segment.clean and segment.after is not None:
        pair = [("as it is", segment.after)]
    scale = [frame for _, frame in pair if frame is not None]
    for caption, frame in pair:
        if frame is not None:
            alt = f"frame of segment {number}, {segment.title}, {caption} the shift"
            alt = alt if not segment.clean else f"frame of segment {number}, {segment.title}"
            shown.append(
                f"<figure>{thumbnail(frame, alt, scale)}<figcaption>{caption}</figcaption></figure>"
            )
    sign = {1: "better", -1: "worse"}.get(figures.gain.sign, "")
    return (
        f'<section class="card"><h3>{number} · {escape(segment.title)}</h3>'
        f'<div class="pair">{"".join(shown)}</div>'
        f"<dl><dt>frozen</dt><dd>{percent(figures.frozen)}</dd>"
        f'<dt>adapted</dt><dd class="{sign}">{percent(figures.adapted)}</dd></dl></section>'
    )


def thumbnail(frame: Array, alt: str, scale: list[Array]) -> str:
    """A frame as an element: a picture as an image, a window of signals as curves on a shared scale."""
    if is_image(frame):
        small = pixels(frame)
        tiny = ' class="tiny"' if max(small.shape[:2]) < TINY else ""
        height, width = small.shape[:2]
        return f'<img{tiny} src="{data_uri(small)}" width="{width}" height="{height}" alt="{escape(alt)}">'
    signals = np.atleast_2d(np.asarray(frame, np.float64))
    low, high = (float(f([f(each) for each in scale])) for f in (np.min, np.max))
    span = (high - low) or 1.0
    lines = []
    for k, signal in enumerate(signals[:12]):
        x = np.linspace(0, 120, len(signal))
        y = 4 + 72 * (high - signal) / span
        data = " ".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y))
        colour = "var(--adapted)" if k % 2 else "var(--frozen)"
        shade = 1 - 0.6 * k / max(1, len(signals) - 1)
        lines.append(
            f'<path d="M{data}" fill="none" stroke="{colour}" stroke-opacity="{shade:.2f}"/>'
        )
    label = escape(alt, quote=True)
    return f'<svg viewBox="0 0 120 80" role="img" aria-label="{label}">{"".join(lines)}</svg>'


def _both(draw: Any, *arguments: Any) -> str:
    return "\n".join(draw(*arguments, width) for width in (WIDE, NARROW))


def _key(css: str, colour: str, text: str) -> str:
    return f'<span class="{css}" style="--key:var(--{colour})">{escape(text)}</span>'


def _losses(view: Timeline, summary: Summary) -> str:
    legend = [
        _key("dashed", "frozen", "frozen"),
        _key("", "adapted", "adapted"),
        _key("area", "won", "adaptation helps"),
        _key("area", "lost", "adaptation hurts"),
        _key("world", "band", "shifted world, darker where harsher"),
    ]
    if view.estimate is not None:
        legend.insert(2, _key("dotted", "soft", "frozen, estimated without labels"))
    meaning = escape(MEANING[summary.measure])
    return (
        f"<h2>{escape(TITLES[view.measure])}</h2>\n"
        f'<p class="note">Means of {view.window} {summary.unit}s: {meaning}.</p>\n'
        f'<div class="legend">{"".join(legend)}</div>\n' + _both(losses, view)
    )


def _scores(view: Timeline) -> str:
    if not view.scores:
        return ""
    rest = view.hidden_scores
    note = (
        "Scores with a calibrated threshold are drawn in units of it, on a logarithmic scale from 0.1 to "
        "100; others in their own unit."
    )
    if rest:
        note += f" In the JSON lines, but not drawn: {', '.join(rest)}."
    return (
        f'<h2>Drift scores</h2>\n<p class="note">{escape(note)}</p>\n'
        f'<div class="legend">{_key("dashed", "over", "threshold")}{_key("area", "over", "above it")}</div>\n'
        + _both(scores, view)
    )


def _events(view: Timeline) -> str:
    note = (
        "A filled triangle is the first find behind a change of the world, with the frames since; hollow "
        "ones are all others. Below them, what the governor did with each adaptation step."
    )
    return f'<h2>What was found, and what was done</h2>\n<p class="note">{note}</p>\n' + _both(
        events, view
    )


def _layers(view: Timeline) -> str:
    if view.heat is None:
        return ""
    _, low, high = scaled(view.heat.values)
    stops = ", ".join(f"rgb{colour}" for colour in VIRIDIS)
    scale = (
        f'<p class="note">{low:.2g}<span class="scale" role="img" aria-label="colour scale, dark is low" '
        f'style="background:linear-gradient(90deg, {stops})"></span>{high:.2g}, logarithmic</p>'
    )
    note = "Distance of each layer's statistics from the source, input at the top, output at the bottom."
    return f'<h2>Which layers show it</h2>\n<p class="note">{note}</p>\n{scale}\n' + _both(
        layers, view, view.heat
    )


def _table(summary: Summary) -> str:
    head = "".join(f'<th scope="col">{escape(c)}</th>' for c in COLUMNS)
    gains = [*(f.gain for f in summary.segments), summary.gain]
    rows = []
    for cells, gain in zip(table(summary), gains):
        css = {1: "better", -1: "worse"}.get(gain.sign, "")
        tds = [f"<td>{escape(cell)}</td>" for cell in cells]
        tds[4] = f'<td class="{css}">{escape(points(gain))}</td>'
        rows.append(f"<tr>{''.join(tds)}</tr>")
    note = (
        "Gain is frozen minus adapted, paired by frame; the interval is 95 %, from means of consecutive "
        "blocks; coloured where it excludes zero. Found after: answers until a change was found; level: "
        "until the level alone was drift; standing: it still was; clear: until it was no more."
    )
    return (
        f'<h2>By segment</h2>\n<p class="note">{note}</p>\n<div class="scroll"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _about(recording: Recording) -> str:
    items = {**recording.about, **recording.counts}
    rows = "".join(
        f"<tr><td>{escape(str(k))}</td><td><code>{escape(str(v))}</code></td></tr>"
        for k, v in items.items()
    )
    limits = ", ".join(f"{k} {v:.4g}" for k, v in recording.thresholds.items()) or "none"
    return (
        "<details><summary>How this was made</summary>\n"
        f'<div class="scroll"><table class="about"><tbody>{rows}</tbody></table></div>\n'
        f'<p class="note">Thresholds: {escape(limits)}. The frames, one a line, are in frames.jsonl; the '
        "figures in summary.json.</p></details>"
    )


def _data(view: Timeline, unit: str) -> str:
    """What the script needs, as JSON that cannot end the script element."""
    data = {
        "length": view.length,
        "unit": unit,
        "segments": [[s.title, s.stop] for s in view.segments],
        "bins": [
            [finite(x), finite(a, 4), finite(b, 4)]
            for x, a, b in zip(view.bins.x, view.bins.frozen, view.bins.adapted)
        ],
        "scores": [
            [s.name.replace("_", " "), "×" if s.ratio else "",
             [[int(x), finite(y, 3)] for x, y in zip(s.x, s.y)]]
            for s in view.scores
        ],
    }  # fmt: skip
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


__all__ = ["page", "thumbnail", "write_page"]
