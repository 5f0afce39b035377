"""How well the governor's checks tell harmful from helpful steps: ``python -m tests.bench.check_bank``.

Records steps of the demo's model: a random shift and severity, order of classes, method, batch size and
number of rounds; in a quarter of the streams the shift changes before the last round, so that the state is
for a world that is gone. The proposal is judged on the frames that come next, and the harm is what it costs
in error on the 96 frames after those, against the source model. A step is harmful or helpful where that is
more than two points.

Prints the AUROC of each check and of the log odds, and the vetoes of each among harmful and helpful steps.
"""

from __future__ import annotations

import argparse
import math
from importlib.resources import as_file, files

import numpy as np

from tta import registry
from tta.bundle import Bundle
from tta.corruptions import corrupt
from tta.evidence import evidence
from tta.governor import COMMIT, Governor
from tta.records import Array, Frame, State
from tta.runtime.method import make_adapter, source_state
from tta.runtime.preprocess import build as preprocess
from tta.runtime.stream import Model
from tta.simulation import build

SHIFTS = (
    "gaussian_noise",
    "fog",
    "contrast",
    "defocus_blur",
    "brightness",
    "jpeg_compression",
    "pixelate",
    "motion_blur",
)
SEVERITIES = (0, 1, 3, 5)
ORDERS = ("iid", "dirichlet:0.1", "dirichlet:0.01", "sorted")
METHODS = ("bn_stats", "tent", "tent?lr=0.01", "nhl")
BATCHES = (16, 32, 64)
FUTURE = 96  # frames that say what the step costs
CLEAR = 0.02  # of error, from which a step is harmful or helpful


def auroc(scores: Array, harmful: Array) -> float:
    """Probability that a harmful step scores above a helpful one, ties half."""
    bad, good = scores[harmful], scores[~harmful]
    if not len(bad) or not len(good):
        return math.nan
    above = (bad[:, None] > good[None]).mean() + 0.5 * (bad[:, None] == good[None]).mean()
    return float(above)


class Bank:
    """Steps with what the checks say of them and what they cost."""

    def __init__(self, model: Model, images: Array, labels: Array) -> None:
        self._model, self._labels = model, labels
        manifest = model.bundle.manifest
        prepare = preprocess(manifest.preprocess, manifest.input)
        self._images, self._prepare = images, prepare
        self._known: dict[tuple[str, int], Array] = {}
        self._guard = Governor(manifest, model.calibration)

    def inputs(self, shift: str, severity: int) -> Array:
        """All images under a shift, as the model takes them."""
        key = (shift if severity else "", severity)
        if key not in self._known:
            x = corrupt(self._images, shift, severity) if severity else self._images
            made = [self._prepare(Frame(image, 0.0, k)) for k, image in enumerate(x)]
            self._known[key] = np.stack([m for m in made if m is not None])
        return self._known[key]

    def errors(self, x: Array, labels: Array, slots: dict[str, Array]) -> float:
        """Share of wrong answers under some slots."""
        run, primary = self._model.adapting.run, self._model.bundle.manifest.primary
        said = run("batch", x, slots, alpha=0.0).outputs[primary].argmax(-1)
        return float(np.mean(said != labels))

    def step(self, rng: np.random.Generator) -> tuple[dict[str, float], float, bool]:
        """One recorded step: its figures, its cost in error, and whether a check vetoed it."""
        batch, rounds = int(rng.choice(BATCHES)), int(rng.integers(1, 12))
        before = (str(rng.choice(SHIFTS)), int(rng.choice(SEVERITIES)))
        after = (str(rng.choice(SHIFTS)), int(rng.choice(SEVERITIES)))
        after = after if rng.random() < 0.25 else before
        need = (rounds + 1) * batch + FUTURE
        order = build("order", str(rng.choice(ORDERS)))
        count = len(self._labels)
        chosen = order.indices(max(need, count), count, self._labels, rng)
        at = int(rng.integers(0, len(chosen) - need + 1))
        chosen = chosen[at : at + need]
        method = make_adapter(str(rng.choice(METHODS)))
        run, bundle = self._model.adapting.run, self._model.bundle
        state: State = source_state(method, bundle, self._model.calibration)
        for k in range(rounds):
            x = self.inputs(*before)[chosen[k * batch : (k + 1) * batch]]
            state, _ = method.adapt(state, x, run)
        proof = self.inputs(*after)[chosen[rounds * batch : (rounds + 1) * batch]]
        frozen = run("batch", proof, bundle.source_slots, alpha=0.0)
        adapted = run("batch", proof, state.slots, alpha=0.0)
        slots = dict(state.slots)
        found = evidence(bundle.manifest, frozen, adapted, slots, bundle.source_slots)
        verdict = self._guard.judge(found)
        future, labels = chosen[-FUTURE:], self._labels[chosen[-FUTURE:]]
        x = self.inputs(*after)[future]
        cost = self.errors(x, labels, slots) - self.errors(x, labels, dict(bundle.source_slots))
        return dict(verdict.figures), cost, bool(verdict.reason)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    demo = files("tta.demo")
    with as_file(demo / "fashion_test.npz") as path, np.load(path) as data:
        images, labels = data["images"], data["labels"]
    with as_file(demo / "fashion.tta") as path:
        model = Model(Bundle(path))
    rng = np.random.default_rng(given.seed)
    bank = Bank(model, images, labels)
    rows = [bank.step(rng) for _ in range(given.steps)]
    cost = np.array([r[1] for r in rows])
    clear, harmful = np.abs(cost) > CLEAR, cost > CLEAR
    print(f"{len(rows)} steps: {harmful.sum()} harmful, {(cost < -CLEAR).sum()} helpful\n")
    print("| check | AUROC | vetoes by itself, of harmful | of helpful |")
    print("|---|---|---|---|")
    for name in [*registry.names("tta.checks"), "harm"]:
        figure = np.array([r[0].get(name, math.nan) for r in rows])
        known = clear & np.isfinite(figure)
        bar = 0.0 if name == "harm" else registry.load("tta.checks", name).threshold
        over = figure > bar
        cells = "| - | - |"
        if math.isfinite(bar):
            cells = f"| {_share(over, known & harmful)} | {_share(over, known & ~harmful)} |"
        print(f"| {name} | {auroc(figure[known], harmful[known]):.2f} {cells}")
    harm = np.array([r[0].get("harm", math.nan) for r in rows])
    passed = ~np.array([r[2] for r in rows]) & ~(harm >= COMMIT)
    print(
        f"\nput in force at once: {_share(passed, clear & ~harmful)} of the helpful and "
        f"{_share(passed, clear & harmful)} of the harmful steps; mean cost of a step "
        f"{100 * cost.mean():+.1f} points, of those put in force {100 * cost[passed].mean():+.1f}"
    )


def _share(which: Array, among: Array) -> str:
    return f"{100 * which[among].mean():.0f} %" if among.any() else "-"


if __name__ == "__main__":
    main()
