"""The timeline as one PNG, for slides and papers: drawn by matplotlib, which the extra ``sim`` brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tta.evaluation.panels import DOTS, HIGHEST, LOWEST, VERDICTS, scaled
from tta.evaluation.picture import is_image, pixels
from tta.evaluation.svg import brief, nice_top, runs
from tta.evaluation.timeline import ACTIONS, TITLES, Timeline
from tta.records import Array
from tta.runtime.extra import load_extra

WIDTH_IN, DPI = 12.0, 120
INK, SOFT, RULE, BAND = "#1b1b1f", "#5a5d66", "#d9dbe1", "#e3e5ea"
FROZEN, ADAPTED, FOUND = (
    "#c24e00",
    "#0067a8",
    "#a2306b",
)  # told apart by any eye, and by their dashes
ACTS = dict(zip(ACTIONS, ("#00795a", "#878b95", "#9a6b00", "#b3261e")))
PLATE = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6}  # behind words
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "figure.facecolor": "white",
    "svg.hashsalt": "tta",
}


def need() -> tuple[Any, Any]:
    """Matplotlib and its figure module, which opens no window.

    Raises:
        MissingExtraError: it is not installed.
    """
    return (
        load_extra("sim", "timeline.png", "matplotlib"),
        load_extra("sim", "timeline.png", "matplotlib.figure"),
    )


def write_chart(path: Path, view: Timeline) -> None:
    """Draw and write the picture.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib, figures = need()
    with matplotlib.rc_context(STYLE):
        figure = _draw(figures, view)
        figure.savefig(path, dpi=DPI, format="png", metadata={"Software": "tta"})


def _draw(figures: Any, view: Timeline) -> Any:
    lanes = len(_lanes(view))
    rows = len(view.heat.layers) if view.heat is not None else 0
    heights = {
        "pictures": 1.75 if view.shown else 0.0,
        "losses": 2.5,
        **{f"score {k}": 0.48 for k in range(len(view.scores))},
        "events": 0.24 * lanes,
        "layers": min(2.6, max(0.9, 0.17 * rows)) if rows else 0.0,
    }
    kept = {name: height for name, height in heights.items() if height}
    total = sum(kept.values()) + 2.0 + 0.12 * len(kept)
    figure = figures.Figure(figsize=(WIDTH_IN, total))
    grid = figure.add_gridspec(
        len(kept),
        1,
        height_ratios=list(kept.values()),
        left=0.135,
        right=0.975,
        top=1 - 1.02 / total,
        bottom=0.5 / total,
        hspace=0.12 * 2.2 / (sum(kept.values()) / len(kept)),
    )
    figure.text(0.012, 1 - 0.16 / total, view.title, fontsize=15, weight="bold", va="top")
    said = _wrapped(view.verdict, 150)
    figure.text(0.012, 1 - 0.47 / total, said, fontsize=9.5, color=SOFT, va="top", linespacing=1.35)
    axes = {name: figure.add_subplot(grid[k]) for k, name in enumerate(kept)}
    if "pictures" in axes:
        _pictures(figure, axes["pictures"], view)
    _losses(axes["losses"], view)
    for k in range(len(view.scores)):
        _score(axes[f"score {k}"], view, k)
    _events(axes["events"], view)
    if "layers" in axes:
        _layers(figure, axes["layers"], view)
    along = [axis for name, axis in axes.items() if name != "pictures"]
    for axis in along:
        axis.set_xlim(0, view.length)
        axis.set_xticks([at for at, _ in view.ticks])
        axis.set_xticklabels([text for _, text in view.ticks] if axis is along[-1] else [])
        axis.tick_params(length=3, width=0.7)
        _bands(axis, view)
    along[-1].set_xlabel(view.axis)
    return figure


def _bands(axis: Any, view: Timeline) -> None:
    for segment in view.segments:
        if not segment.clean:
            alpha = 0.35 + 0.13 * min(segment.severity, 5)
            axis.axvspan(segment.start, segment.stop, color=BAND, alpha=alpha, lw=0, zorder=0)
        if segment.start:
            axis.axvline(segment.start, color=SOFT, lw=0.8, ls=(0, (2, 3)), zorder=1.5)


def _pictures(figure: Any, axis: Any, view: Timeline) -> None:
    """Each segment's frame before (above) and after (below) its shift."""
    axis.axis("off")
    box, count = axis.get_position(), len(view.shown)
    size = figure.get_size_inches()
    width = box.x1 - box.x0
    cell = width / max(count, 5)
    side = min(0.5 * box.height * size[1] * 0.9, cell * size[0] * 0.9)  # inches
    spans = [(view.segments[k].start, view.segments[k].stop) for k in view.shown]
    middles = [box.x0 + (a + b) / 2 / view.length * width for a, b in spans]
    if (
        min(np.diff(middles), default=1.0) < side / size[0]
    ):  # too near to stand above their segments
        middles = [box.x0 + (k + 0.5) * cell for k in range(count)]
    for centre, number in zip(middles, view.shown):
        segment = view.segments[number]
        pair = [segment.after] if segment.clean else [segment.before, segment.after]
        frames = [frame for frame in pair if frame is not None]
        for row, frame in enumerate(frames):
            low = box.y0 + (1 - row) * box.height * 0.5
            if len(frames) == 1:
                low = box.y0 + 0.25 * box.height
            inset = figure.add_axes(
                (centre - side / size[0] / 2, low, side / size[0], side / size[1])
            )
            inset.set_xticks([])
            inset.set_yticks([])
            _frame(inset, frame, frames)
        under = box.y0 - 0.03 / size[1]
        figure.text(centre, under, segment.title, fontsize=8.5, ha="center", va="top")
    if any(view.segments[k].before is not None and not view.segments[k].clean for k in view.shown):
        for text, at in (("before", 0.72), ("after", 0.22)):
            place = box.y0 + at * box.height
            figure.text(box.x0 - 0.008, place, text, fontsize=9.5, ha="right", va="center")


def _frame(axis: Any, frame: Array, scale: list[Array]) -> None:
    if is_image(frame):
        small = pixels(frame, 256)
        axis.imshow(small, cmap="gray" if small.ndim == 2 else None, vmin=0, vmax=255, aspect="equal",
                    interpolation="nearest")  # fmt: skip
        for spine in axis.spines.values():
            spine.set_visible(False)
        return
    signals = np.atleast_2d(frame)
    for k, signal in enumerate(signals[:12]):
        axis.plot(signal, lw=0.8, color=ADAPTED if k % 2 else FROZEN,
                  alpha=1 - 0.6 * k / max(1, len(signals) - 1))  # fmt: skip
    low, high = min(float(np.min(s)) for s in scale), max(float(np.max(s)) for s in scale)
    axis.set_ylim(low, high if high > low else low + 1)


def _losses(axis: Any, view: Timeline) -> None:
    bins = view.bins
    top = nice_top(float(max(bins.frozen.max(initial=0), bins.adapted.max(initial=0))))
    axis.set_ylim(0, 100 * top)
    axis.grid(axis="y", color=RULE, lw=0.6)
    axis.set_axisbelow(True)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    _name(axis, _wrapped(TITLES[view.measure], 15))
    if view.estimate is not None:
        estimate = 100 * np.clip(view.estimate.y, 0, top)
        label = "frozen, estimated without labels"
        axis.plot(view.estimate.x, estimate, color=SOFT, lw=1.2, ls=":", label=label)
    marker = "o" if len(bins.x) <= DOTS else ""
    for n, run in enumerate(runs(bins.segment)):
        x, frozen, adapted = bins.x[run], 100 * bins.frozen[run], 100 * bins.adapted[run]
        better, worse = np.minimum(frozen, adapted), np.maximum(frozen, adapted)
        axis.fill_between(x, frozen, better, color=ADAPTED, alpha=0.14, lw=0)
        axis.fill_between(x, frozen, worse, color=FROZEN, alpha=0.3, lw=0)
        names = (None, None) if n else ("frozen", "adapted")  # a line has one entry in the legend
        dots = {"marker": marker, "ms": 2.5}
        axis.plot(x, frozen, color=FROZEN, lw=1.6, ls=(0, (4, 1.6)), label=names[0], **dots)
        axis.plot(x, adapted, color=ADAPTED, lw=1.9, label=names[1], **dots)
    axis.legend(loc="upper left", ncols=3, fontsize=9.5, framealpha=0.85, edgecolor="none",
                borderaxespad=0.2, handlelength=2.4)  # fmt: skip


def _score(axis: Any, view: Timeline, number: int) -> None:
    score = view.scores[number]
    y = score.y
    if score.ratio:
        y = np.clip(y, LOWEST, HIGHEST)
        axis.set_yscale("log")
        axis.set_ylim(LOWEST, HIGHEST)
        axis.set_yticks([1, 10], ["1×", "10×"])
        axis.minorticks_off()
        axis.axhline(1, color=FOUND, lw=1, ls=(0, (4, 2)))
        axis.fill_between(score.x, 1, np.maximum(y, 1), color=FOUND, alpha=0.3, lw=0)
    else:
        low, high = float(y.min()), float(y.max())
        pad = 0.06 * ((high - low) or 1.0)
        axis.set_ylim(low - pad, high + pad)
        axis.set_yticks([low, high], [brief(low), brief(high)])
    axis.plot(score.x, y, color=INK, lw=1)
    _name(axis, score.name.replace("_", "\n" if len(score.name) > 12 else " "))


def _lanes(view: Timeline) -> list[str]:
    verdicts = any(event.what in VERDICTS for event in view.events)
    return ["world changes", "change found", *(["verdict"] if verdicts else []), *ACTIONS]


def _events(axis: Any, view: Timeline) -> None:
    lanes = _lanes(view)
    axis.set_ylim(len(lanes) - 0.4, -0.6)
    axis.set_yticks(range(len(lanes)), lanes, color=INK)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    changes = [s.start for s in view.segments[1:]]
    axis.plot(changes, [0] * len(changes), "v", color=INK, ms=7, clip_on=False)
    free = {1: -1.0, 2: -1.0}
    for event in view.events:
        judged = event.what in VERDICTS
        lane, text = (2, event.what) if judged else (1, "")
        if judged and event.kind not in ("", "unknown"):
            text += f": {event.kind.replace('_', ' ')}"
        full = event.what == "alarm" if judged else event.delay is not None
        if event.delay is not None and not judged:
            text = f"+{event.delay}"
        axis.plot([event.at], [lane], "s" if judged else "^", ms=5 if judged else 7, color=FOUND,
                  fillstyle="full" if full else "none", clip_on=False)  # fmt: skip
        room = view.length * (0.012 + 0.0068 * len(text))
        turn = event.at + room > view.length
        if text and (event.at - room if turn else event.at) > free[lane]:
            axis.annotate(
                text, (event.at, lane), (-7 if turn else 7, 0), textcoords="offset points", va="center",
                ha="right" if turn else "left", fontsize=8.5, color=FOUND, bbox=PLATE,
            )  # fmt: skip
            free[lane] = event.at if turn else event.at + room
    for lane, action in enumerate(ACTIONS, start=lanes.index(ACTIONS[0])):
        at = view.decisions[action]
        wide = 2.0 if action in ("reset", "rollback") else 0.9
        axis.vlines(at, lane - 0.36, lane + 0.36, color=ACTS[action], lw=wide)


def _layers(figure: Any, axis: Any, view: Timeline) -> None:
    heat = view.heat
    assert heat is not None
    shares, low, high = scaled(heat.values)
    count = len(heat.layers)
    image = axis.pcolormesh(heat.edges, np.arange(count + 1), shares, cmap="viridis", vmin=0, vmax=1,
                            zorder=1)  # fmt: skip
    axis.set_ylim(count, 0)
    every = max(1, int(np.ceil(count / 14)))
    names = [_short(name) for name in heat.layers[::every]]
    axis.set_yticks(np.arange(0, count, every) + 0.5, names, fontsize=8)
    box = axis.get_position()
    height = figure.get_size_inches()[1]
    scale = figure.add_axes((box.x1 - 0.16, box.y0 - 0.37 / height, 0.12, 0.09 / height))
    figure.colorbar(image, cax=scale, orientation="horizontal")
    scale.set_xticks([0, 1], [f"{low:.2g}", f"{high:.2g}"], fontsize=8)
    scale.tick_params(length=0, pad=2)
    figure.text(box.x1 - 0.168, box.y0 - 0.33 / height, "layer's distance from the source (log)",
                ha="right", va="center", fontsize=8.5, color=SOFT)  # fmt: skip


def _name(axis: Any, text: str) -> None:
    """The name of a panel in the left margin, where there is room for words."""
    axis.annotate(text, (0, 0.5), (-44, 0), xycoords="axes fraction", textcoords="offset points",
                  ha="right", va="center", fontsize=9.5)  # fmt: skip


def _short(name: str, most: int = 20) -> str:
    return name if len(name) <= most else "…" + name[-most + 1 :]


def _wrapped(text: str, width: int) -> str:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


__all__ = ["need", "write_chart"]
