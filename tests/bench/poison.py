"""What poisoned frames do: ``python -m tests.bench.poison``.

Threat model. The attacker sends one frame in ten, knows the source model, the checks and their thresholds,
and wants the model to err on the *clean* frames between and after. It does not see the state in force, nor
can it touch other frames, canaries or the log. Ways:

==============  ====================================================================================
``ascent``      clean frames changed by sign gradient ascent of the source model's loss, ε = 32/255 of the
                range, 10 steps; the gradient is by finite differences along random signs (SPSA, Spall 1992),
                as an attacker without the graph would find it
``patch``       a printed patch, 10 x 10 pixels of a fixed pattern, at a random place
``drift``       brightness that creeps by one grey level every four frames, to stay below each jump
``noise``       frames of uniform noise
``world``       frames of another world: under fog of severity 5, or with ``--shift`` as the source has them.
                They are what a true shift is, so no rule refuses them
==============  ====================================================================================

``spread`` poisons every tenth frame, ``burst`` the first tenth of each 500 frames in a row. The stream is
the demo's own clean images, or these under ``--shift`` at severity 5; printed is the error on the frames
that are not poisoned in points above the source model's on the same, mean over orders, and the worst.
"""

from __future__ import annotations

import argparse
from importlib.resources import files

import numpy as np

from tta.bundle import Bundle
from tta.corruptions import corrupt
from tta.records import Array, Frame
from tta.runtime.loop import advance
from tta.runtime.stream import Model, Stream

WAYS = ("ascent", "patch", "drift", "noise", "world")
EVERY, BLOCK = 10, 500
LEVEL, STEPS, DIRECTIONS = 32, 10, 8


def ascent(model: Model, images: Array, labels: Array, rng: np.random.Generator) -> Array:
    """Images of which the source model is less sure: sign ascent of its cross-entropy."""
    asker = Stream(model, "none", metrics=[], quarantine="none")

    def loss(x: Array) -> Array:
        inputs = np.stack([asker.preprocess(Frame(i, 0.0, 0)) for i in np.uint8(x)])
        logits = model.source.run(inputs)[model.bundle.manifest.primary].astype(float)
        top = logits.max(1, keepdims=True)
        total = np.log(np.exp(logits - top).sum(1)) + top[:, 0]
        return np.asarray(total - logits[np.arange(len(x)), labels])

    start = images.astype(float)
    now = start.copy()
    for _ in range(STEPS):
        slope = np.zeros_like(now)
        for _ in range(DIRECTIONS):
            way = rng.choice([-1.0, 1.0], now.shape)
            up, down = (loss(np.clip(now + s * 8 * way, 0, 255)) for s in (1, -1))
            slope += (up - down)[:, None, None] * way
        now = np.clip(now + LEVEL / 4 * np.sign(slope), start - LEVEL, start + LEVEL)
        now = np.clip(now, 0, 255)
    return np.uint8(now)


def poisoned(
    way: str,
    model: Model,
    images: Array,
    labels: Array,
    bad: Array,
    rng: np.random.Generator,
    other: Array,
) -> Array:
    """The stream with its bad frames in it."""
    out = images.copy()
    places = np.flatnonzero(bad)
    if way == "ascent":
        out[places] = ascent(model, images[places], labels[places], rng)
    elif way == "patch":
        pattern = rng.integers(0, 2, (10, 10)).astype(np.uint8) * 255
        for k in places:
            y, x = rng.integers(0, 18, 2)
            out[k, y : y + 10, x : x + 10] = pattern
    elif way == "drift":
        for n, k in enumerate(places):
            out[k] = np.clip(images[k].astype(int) + n // 4, 0, 255)
    elif way == "world":
        out[places] = other[places]
    else:
        out[places] = rng.integers(0, 256, (len(places), 28, 28))
    return out


def harm(model: Model, stream: Stream, images: Array, labels: Array, clean: Array) -> float:
    """Points of error above the source model's on the clean frames."""
    said = [
        result.prediction.label
        for k, image in enumerate(images)
        for result in advance(stream, Frame(image, k / 30, k))
        if result.prediction
    ]
    frozen = Stream(model, "none", metrics=[], quarantine="none")
    inputs = np.stack([frozen.preprocess(Frame(i, 0.0, 0)) for i in images])
    logits = np.concatenate(
        [
            model.source.run(part)[model.bundle.manifest.primary]
            for part in np.array_split(inputs, 20)
        ]
    )
    wrong = (np.array(said) != labels).astype(float) - (logits.argmax(1) != labels)
    return float(100 * wrong[clean].mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--adapters", default="auto,bn_stats,tent,nhl")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--shift", default="", help="corruption of every clean frame; none")
    parser.add_argument("--first-seed", type=int, default=0)
    given = parser.parse_args()
    ways = given.ways.split(",")
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    demo = files("tta.demo")
    with np.load(demo / "fashion_test.npz") as data:  # type: ignore[arg-type]
        images, labels = data["images"], data["labels"]
    model = Model(Bundle(str(demo / "fashion.tta")))
    n = len(images)
    orders = {
        "spread": np.arange(n) % EVERY == EVERY - 1,
        "burst": np.arange(n) % BLOCK < BLOCK // EVERY,
    }
    settings = [
        (adapter, governor, rules)
        for adapter in given.adapters.split(",")
        for governor, rules in (("auto", "default"), ("auto", "none"), ("always", "none"))
    ]
    print("| method | governor | quarantine | " + " | ".join(
        f"{way}, {order}" for way in ways for order in orders) + " |")  # fmt: skip
    print("|---" * (3 + len(ways) * len(orders)) + "|")
    streams: dict[tuple[str, str, int], tuple[Array, Array]] = {}
    for way in ways:
        for order, bad in orders.items():
            for seed in seeds:
                rng = np.random.default_rng(seed)
                items = rng.permutation(n)
                seen = images[items]
                other = seen if given.shift else corrupt(seen, "fog", 5)
                seen = corrupt(seen, given.shift, 5) if given.shift else seen
                made = poisoned(way, model, seen, labels[items], bad, rng, other)
                streams[way, order, seed] = made, labels[items]
    for adapter, governor, rules in settings:
        cells = []
        for way in ways:
            for order, bad in orders.items():
                found = []
                for seed in seeds:
                    made, truth = streams[way, order, seed]
                    stream = Stream(
                        model,
                        adapter,
                        governor=governor,  # type: ignore[arg-type]
                        metrics=[],
                        quarantine=rules,
                    )
                    found.append(harm(model, stream, made, truth, ~bad))
                cells.append(f"{np.mean(found):+.1f} ({max(found):+.1f})")
        print(f"| {adapter} | {governor} | {rules} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
