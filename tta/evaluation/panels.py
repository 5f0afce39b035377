"""The panels of the timeline page as SVG: losses, drift scores, events, layers."""

from __future__ import annotations

import numpy as np

from tta.evaluation.picture import data_uri, viridis
from tta.evaluation.svg import Drawing, brief, nice_top, runs, width_of
from tta.evaluation.timeline import TITLES, Heat, Score, Timeline
from tta.records import Array

WIDE, NARROW = 980, 380  # widths that the panels are drawn for: a desk and a phone
LOWEST, HIGHEST = 0.1, 100.0  # of the axis of scores in units of their threshold
VERDICTS = ("recall", "learn", "alarm")
DOTS = 60  # windows up to which each is marked by a dot


def losses(view: Timeline, width: int) -> str:
    """Loss of both models over windows."""
    narrow = width == NARROW
    drawing, top, height = _begin(view, width, 20 if narrow else 24, 190 if narrow else 260)
    bins = view.bins
    most = nice_top(float(max(bins.frozen.max(initial=0), bins.adapted.max(initial=0))))
    bottom = top + height

    def y(value: Array) -> Array:
        return bottom - np.asarray(value) / most * height

    _bands(drawing, view, top, height, named=True)
    for share in np.linspace(0, most, 5):
        drawing.line(drawing.left, float(y(share)), drawing.end, float(y(share)), "grid")
        drawing.text(drawing.left - 6, float(y(share)) + 4, f"{100 * share:.3g} %", "tick", "end")
    x = drawing.x(bins.x)
    for run in runs(bins.segment):
        between_x = np.concatenate([x[run], x[run][::-1]])
        better, worse = np.minimum(bins.frozen, bins.adapted), np.maximum(bins.frozen, bins.adapted)
        for css, other in (("won", better), ("lost", worse)):
            edge = np.concatenate([y(other[run]), y(bins.frozen[run])[::-1]])
            drawing.path(between_x, edge, css, closed=True)
    if view.estimate is not None:
        drawing.path(drawing.x(view.estimate.x), y(np.clip(view.estimate.y, 0, most)), "estimate")
    for css, values in (("frozen", bins.frozen), ("adapted", bins.adapted)):
        for run in runs(bins.segment):
            drawing.path(x[run], y(values[run]), css)
            if run.stop - run.start == 1 or len(x) <= DOTS:
                for a, b in zip(x[run], y(values[run])):
                    drawing.rect(a - 2, b - 2, 4, 4, f"{css}-dot")
    _axis(drawing, view, bottom)
    said = "; ".join(
        f"{s.title}: frozen {100 * f.frozen:.1f} %, adapted {100 * f.adapted:.1f} %"
        for s, f in zip(view.segments, view.figures)
    )
    return drawing.svg(_css(narrow), f"{TITLES[view.measure]} over the stream", said)


def scores(view: Timeline, width: int) -> str:
    """One strip a drift score, in units of its threshold where it has one."""
    narrow = width == NARROW
    strip, gap = (46.0, 24.0) if narrow else (52.0, 12.0)
    drawing = Drawing(width, 0, view.length, *_margins(narrow))
    y = gap if narrow else 8.0
    for score in view.scores:
        _strip(drawing, view, score, y, strip, narrow)
        y += strip + gap
    bottom = y - gap
    drawing.height = bottom + 22
    _axis(drawing, view, bottom)
    worst = [
        f"{s.name} at most {s.y.max():.3g} times its threshold" for s in view.scores if s.ratio
    ]
    said = "; ".join(worst) or "no score has a calibrated threshold"
    return drawing.svg(_css(narrow), "Drift scores over the stream", said)


def _strip(
    drawing: Drawing, view: Timeline, score: Score, top: float, height: float, narrow: bool
) -> None:
    bottom = top + height
    _bands(drawing, view, top, height, named=False)
    if score.ratio:
        span = np.log10(HIGHEST / LOWEST)
        level = np.log10(np.clip(score.y, LOWEST, HIGHEST) / LOWEST) / span
        limit = bottom - np.log10(1 / LOWEST) / span * height
        marks = [(limit, "1×"), (top + height / 3, "10×")]
        drawing.line(drawing.left, limit, drawing.end, limit, "threshold")
    else:
        low, high = float(score.y.min()), float(score.y.max())
        level = (score.y - low) / ((high - low) or 1.0)
        marks = [(bottom, brief(low)), (top + 6, brief(high))]
    x, y = drawing.x(score.x), bottom - level * height
    if score.ratio:
        above = np.minimum(y, limit)
        edge = np.concatenate([above, np.full(len(x), limit)])
        drawing.path(np.concatenate([x, x[::-1]]), edge, "over", closed=True)
    drawing.path(x, y, "score")
    name = score.name.replace("_", " ")
    for at, text in marks:
        drawing.text(drawing.left - 6, at + 4, text, "tick", "end")
    if narrow:
        drawing.text(drawing.left, top - 6, name, "name")
    else:
        drawing.text(drawing.left - 44, top + height / 2 + 4, name, "name", "end")


def events(view: Timeline, width: int) -> str:
    """Lanes: when the world changed, what was found when and judged how, what the governor did."""
    narrow = width == NARROW
    lane = 36.0 if narrow else 26.0
    verdicts = [e for e in view.events if e.what in VERDICTS]
    counts = {
        "world changes": max(0, len(view.segments) - 1),
        "change found": len(view.events) - len(verdicts),
        **({"verdict": len(verdicts)} if verdicts else {}),
        **{action: len(at) for action, at in view.decisions.items()},
    }
    drawing = Drawing(width, len(counts) * lane + 26, view.length, *_margins(narrow))
    _bands(drawing, view, 4, len(counts) * lane, named=False)
    for k, (name, count) in enumerate(counts.items()):
        top = 4 + k * lane + (16 if narrow else 3)
        bar = lane - (18 if narrow else 10)
        if narrow:
            drawing.text(drawing.left, top - 5, f"{name}, {count}", "name")
        else:
            drawing.text(drawing.left - 8, top + bar / 2 + 4, f"{name}, {count}", "name", "end")
        drawing.line(drawing.left, top + bar, drawing.end, top + bar, "grid")
        if name == "world changes":
            for segment in view.segments[1:]:
                at = float(drawing.x(segment.start))
                down = np.array([top, top, top + bar])
                drawing.path(np.array([at - 5, at + 5, at]), down, "change", True)
        elif name in ("change found", "verdict"):
            _marks(drawing, view, name == "verdict", top, bar)
        else:
            drawing.ticks(drawing.x(view.decisions[name]).tolist(), top, bar, f"act {name}")
    _axis(drawing, view, drawing.height - 22)
    found = [f"{e.what} at {e.at}" + (f", {e.delay} after the change" if e.delay is not None else "")
             for e in view.events[:40]]  # fmt: skip
    said = "; ".join(found) or "nothing was found"
    return drawing.svg(_css(narrow), "Changes, what was found, and decisions over the stream", said)


def _marks(drawing: Drawing, view: Timeline, verdicts: bool, top: float, height: float) -> None:
    """Triangles for finds, filled behind a change; for verdicts the first letter of each."""
    free = -1.0
    for event in view.events:
        if (event.what in VERDICTS) != verdicts:
            continue
        at, text = float(drawing.x(event.at)), event.what
        if not verdicts:
            css = "alarm" if event.delay is not None else "alarm other"
            up = np.array([top + height, top + height, top])
            drawing.path(np.array([at - 5, at + 5, at]), up, css, True)
            text = "" if event.delay is None else f"+{event.delay}"
        elif event.kind and event.kind != "unknown":
            text += f": {event.kind.replace('_', ' ')}"
        if verdicts:
            css = "alarm" if event.what == "alarm" else "alarm other"
            drawing.rect(at - 3, top + height / 2 - 2, 6, 6, css)
        room = width_of(text) + 8
        turn = at + 8 + room > drawing.end
        if text and (at - room if turn else at) > free:
            place, side = (at - 8, "end") if turn else (at + 8, "start")
            drawing.text(place, top + height - 2, text, "small", side)
            free = at if turn else at + room + 4


def layers(view: Timeline, heat: Heat, width: int) -> str:
    """Heat map of the layers' drift scores: layers from input (top) to output (bottom)."""
    narrow = width == NARROW
    count = len(heat.layers)
    row = max(7.0, min(24.0, 360.0 / count))
    height = row * count
    drawing = Drawing(width, height + 30, view.length, *_margins(narrow))
    shares, _, _ = scaled(heat.values)
    drawing.image(data_uri(viridis(shares)), drawing.left, 4, drawing.end - drawing.left, height)
    for segment in view.segments[1:]:
        at = float(drawing.x(segment.start))
        drawing.line(at, 4, at, 4 + height, "cut")
    every = max(1, int(np.ceil((13 if narrow else 12) / row)))
    for k in range(0, count, every):
        y = 4 + (k + 0.5) * row + 4
        name = heat.layers[k]
        if narrow:
            drawing.text(drawing.left - 4, y, str(k + 1), "tick", "end")
        else:
            drawing.text(drawing.left - 8, y, _short(name, 22), "tick", "end")
    _axis(drawing, view, 4 + height)
    last = np.nanmax(np.where(np.isfinite(heat.values), heat.values, -np.inf), axis=1)
    order = np.argsort(-last)[:3]
    said = "layers that moved most: " + ", ".join(f"{heat.layers[k]} {last[k]:.3g}" for k in order)
    return drawing.svg(_css(narrow), "Drift score of each layer over the stream", said)


def scaled(values: Array) -> tuple[Array, float, float]:
    """Values as shares of a logarithmic scale, with the scale's two ends.

    The lower end is the median of the positive values below the largest hundredth part, or that part.
    """
    known = values[np.isfinite(values) & (values > 0)]
    if not known.size:
        return np.where(np.isfinite(values), 0.0, np.nan), 0.0, 0.0
    high = float(known.max())
    low = max(float(known.min()), high / 1000)
    if high <= low:
        return np.where(np.isfinite(values), 0.5, np.nan), low, high
    with np.errstate(invalid="ignore"):
        bounded = np.where(np.isfinite(values), np.clip(values, low, high), np.nan)
    return np.log(bounded / low) / np.log(high / low), low, high


def _begin(view: Timeline, width: int, top: int, height: int) -> tuple[Drawing, int, int]:
    return Drawing(width, top + height + 24, view.length, *_margins(width == NARROW)), top, height


def _margins(narrow: bool) -> tuple[int, int]:
    return (44, 8) if narrow else (168, 12)


def _css(narrow: bool) -> str:
    return "panel narrow" if narrow else "panel wide"


def _bands(drawing: Drawing, view: Timeline, top: float, height: float, named: bool) -> None:
    """Shade the shifted stretches, darker with severity, and mark each change of the world."""
    for number, segment in enumerate(view.segments):
        left, right = (float(drawing.x(at)) for at in (segment.start, segment.stop))
        if not segment.clean:
            opacity = f"{0.35 + 0.13 * min(segment.severity, 5):.2f}"
            drawing.rect(left, top, right - left, height, "band", opacity=opacity)
        if segment.start:
            drawing.line(left, top, left, top + height, "cut")
        if named:
            for text in (segment.title, f"{number + 1}"):
                if width_of(text) < right - left - 4:
                    drawing.text((left + right) / 2, top - 7, text, "name", "middle")
                    break


def _axis(drawing: Drawing, view: Timeline, bottom: float) -> None:
    drawing.line(drawing.left, bottom, drawing.end, bottom, "axis")
    free = -1e9
    for at, text in view.ticks:
        x = float(drawing.x(at))
        half = width_of(text) / 2
        if x - half < free + 10 or x > drawing.end + 1:
            continue
        drawing.line(x, bottom, x, bottom + 4, "axis")
        last = x + half > drawing.width
        drawing.text(drawing.width - 1 if last else x, bottom + 16, text, "tick",
                     "end" if last else "middle")  # fmt: skip
        free = x + half
    if drawing.left > 100:
        drawing.text(drawing.left - 8, bottom + 16, view.axis, "tick", "end")


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else "…" + name[-most + 1 :]


__all__ = ["NARROW", "WIDE", "events", "layers", "losses", "scaled", "scores"]
