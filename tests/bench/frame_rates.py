"""The same clip at 5, 15 and 30 fps: ``python -m tests.bench.frame_rates [vtest.avi ...]``.

Without a file the clips are a moving crop of real images, held before the camera one after the other while
the contrast falls, and a fast pan over a wall of them, of which 5 fps miss much. A file is
seen through a 112 x 112 window in its middle; frames between two of the file's are the nearer
of both, as a camera with a longer exposure would repeat itself. What is compared are the mean and var slots
after the clip, relative to how far they have moved from the source:

    distance = ‖a - b‖ / ‖b - source‖,   each slot in units of the source's standard deviation (var: variance)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np

from tta.bundle import Bundle
from tta.records import Array, Frame, State
from tta.runtime.loop import advance
from tta.runtime.stream import Model, Stream

Clip = Callable[[float], Array]  # the picture at a time in seconds
RATES = (5, 15, 30)
SECONDS = 64.0


def held(images: Array, seconds: float = SECONDS, each_s: float = 3.2, side: int = 28) -> Clip:
    """A crop that sways by up to 3 pixels on one image after the other, at half the contrast and less."""
    wide = np.pad(images.astype(np.float32), ((0, 0), (4, 5), (4, 5)))

    def at(t_s: float) -> Array:
        y, x = 4 + 3 * np.sin(2 * np.pi * t_s / 2.3), 4 + 3 * np.sin(2 * np.pi * t_s / 1.7 + 1)
        seen = crop(wide[int(t_s / each_s) % len(wide)], y, x, side)
        return faded(seen, t_s / seconds)

    return at


def crop(picture: Array, y: float, x: float, side: int) -> Array:
    """A window at a place between pixels."""
    r, c, fy, fx = int(y), int(x), y % 1, x % 1
    p = picture[r : r + side + 1, c : c + side + 1]
    rows = (1 - fy) * p[:-1] + fy * p[1:]
    found: Array = (1 - fx) * rows[:, :-1] + fx * rows[:, 1:]
    return found


def faded(seen: Array, share: float) -> Array:
    """Contrast from 0.5 down to 0.3."""
    return np.clip(127 + (0.5 - 0.2 * share) * (seen - 127), 0, 255).astype(np.uint8)


def wall(images: Array, side: int = 28, seconds: float = SECONDS) -> Clip:
    """A camera that pans over images hung side by side, 54 pixels a second where it is fastest."""
    n = int(np.sqrt(len(images)))
    picture = np.concatenate(
        [np.concatenate(list(row), 1) for row in images[: n * n].reshape(n, n, *images.shape[1:])]
    ).astype(np.float32)
    room = len(picture) - side - 2

    def at(t_s: float) -> Array:
        y = room * (0.5 + 0.5 * np.sin(2 * np.pi * t_s / 47.0))
        x = room * (0.5 + 0.5 * np.sin(2 * np.pi * t_s / 31.0 + 1.0))
        return faded(crop(picture, y, x, side), t_s / seconds)

    return at


def video(path: Path, side: int = 112) -> tuple[Clip, float]:
    """A window of a video file, as 28 x 28 grey pictures, and its length."""
    import cv2

    opened, frames = cv2.VideoCapture(str(path)), []
    fps = opened.get(cv2.CAP_PROP_FPS)
    while True:
        good, image = opened.read()
        if not good:
            break
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        y, x = (grey.shape[0] - side) // 2, (grey.shape[1] - side) // 2
        small = cv2.resize(grey[y : y + side, x : x + side], (28, 28), interpolation=cv2.INTER_AREA)
        frames.append(small)
    return lambda t_s: frames[min(len(frames) - 1, round(t_s * fps))], len(frames) / fps


def shown(clip: Clip, fps: float, seconds: float) -> Iterator[Frame]:
    """The clip's frames at a rate."""
    for k in range(round(seconds * fps)):
        yield Frame(clip(k / fps), k / fps, k)


def after(model: Model, clip: Clip, fps: float, seconds: float, adapter: str, batch: int) -> State:
    """The state at the clip's end."""
    stream = Stream(
        model, adapter, batch=batch, governor="always", metrics=[], quarantine="none"
    )  # drawn frames may repeat
    for frame in shown(clip, fps, seconds):
        for _ in advance(stream, frame):
            pass
    return stream.current


def standardized(slots: Mapping[str, Array], source: Mapping[str, Array]) -> Array:
    """Mean and var slots less the source's, in the source's units."""
    parts = []
    for name in source:
        layer, _, kind = name.rpartition(".")
        if kind in ("mean", "var"):
            unit = np.sqrt(source[f"{layer}.var"]) if kind == "mean" else source[f"{layer}.var"]
            parts.append((slots[name].astype(np.float64) - source[name]) / (unit + 1e-3))
    return np.concatenate(parts)


def distance(a: State, b: State, source: Mapping[str, Array]) -> float:
    """Of a from b, as a share of b's distance from the source."""
    far, near = standardized(b.slots, source), standardized(a.slots, source)
    return float(np.linalg.norm(near - far) / np.linalg.norm(far))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--adapters", nargs="*", default=["bn_stats?tau_s=10", "bn_stats"])
    given = parser.parse_args()
    model = Model(Bundle(files("tta.demo") / "fashion.tta"))
    source = model.bundle.source_slots
    with np.load(files("tta.demo") / "fashion_test.npz") as data:
        images = data["images"][:400]
    clips = {"held": (held(images), SECONDS), "wall": (wall(images), SECONDS)}
    for path in given.clips:
        clip, seconds = video(path)
        whole = seconds - seconds % (given.batch / RATES[0])  # where rounds of all rates end
        clips[path.name] = (clip, whole)
    for name, (clip, seconds) in clips.items():
        for adapter in given.adapters:
            states = {fps: after(model, clip, fps, seconds, adapter, given.batch) for fps in RATES}
            found = [
                f"{fps}: {100 * distance(states[fps], states[RATES[-1]], source):.2f} %"
                for fps in RATES
            ]
            print(
                f"{name}, {seconds:.1f} s, {adapter}, to 30 fps from", ", ".join(found), flush=True
            )


if __name__ == "__main__":
    main()
