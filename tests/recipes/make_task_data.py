"""Write what the task models are judged on: ``python -m tests.recipes.make_task_data FOLDER``.

``segment.npz``, ``detect.npz`` and ``multilabel.npz`` are scenes of test images of Fashion-MNIST that
come with the package, ``embed.npz`` the images themselves; ``regress.npz`` are windows of three people
whom the model has not seen, and is left out where the package with the recordings is not installed.
"""

import argparse
from importlib.resources import files
from pathlib import Path

import numpy as np

from tests.models.tasks import turning
from tests.recipes.scenes import scenes
from tta.errors import SourceError


def things() -> tuple[np.ndarray, np.ndarray]:
    """Test images ``(2000, 28, 28)`` and classes."""
    with np.load(str(files("tta.demo") / "fashion_test.npz")) as data:
        return data["images"], data["labels"].astype(np.int64)


def write(folder: Path, n: int = 1000) -> list[Path]:
    """Write n frames a task; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = things()
    drawn = scenes(images, labels, n, seed=2)
    parts = {
        "segment": (drawn.images, drawn.masks),
        "detect": (drawn.images, drawn.boxes),
        "multilabel": (drawn.images, drawn.classes),
        "embed": (images[:n], labels[:n]),
    }
    made = []
    for name, (frames, targets) in parts.items():
        np.savez_compressed(folder / f"{name}.npz", images=frames, targets=targets)
        made.append(folder / f"{name}.npz")
    try:
        x, y = turning("test")
    except SourceError as error:
        print(f"no regress.npz: {error}")
        return made
    np.savez_compressed(folder / "regress.npz", windows=x[:n], targets=y[:n, None])
    return [*made, folder / "regress.npz"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-n", type=int, default=1000, help="frames a task (default 1000)")
    given = parser.parse_args()
    print(*write(given.folder, given.n), sep="\n")


if __name__ == "__main__":
    main()
