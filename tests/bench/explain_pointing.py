"""Does the heat of ``tta explain`` lie on a fault of the lens? Real photographs, a fault at a known place.

``TTA_DATA=… python -m tests.bench.explain_pointing cifar`` (or ``lite0``) exports the model with the graphs
of ``tta explain``, puts a drop, a speck of dirt or a patch of noise at one place a batch (places drawn anew
for each batch), lets Tent take one step from the source, and compares the heat with other maps of that batch:

- **lift**: share of the map's mass within the fault, divided by the fault's share of the area; 1 is chance;
- **clean**: the same place on the same frames without the fault: objects stand in the middle of pictures;
- **hits**: how often the hottest place lies within the fault (the pointing game, without a margin).

``frame`` is each frame by itself; ``batch`` the whole step, since a fault stays where it is. ``as it is``
shows the statistics without taking off what source frames add anyway. Other maps: the product of the layers'
min-max normalised maps, as Rebuffi et al. combine layers; the input gradient |dL/dx|₂ of the same loss under
the same statistics, by torch; smoothed noise.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from tests.autograd import Twin
from tests.recipes.train_cifar import read_jpegs
from tta.adapters.tent import Tent
from tta.bundle import Bundle
from tta.corruptions._planes import gaussian
from tta.explanation.attribution import Heard, trace
from tta.export import to_bundle
from tta.runtime.session import AdaptSession

BATCH = 16
RADIUS = 0.13  # of the side: 5.3 % of the area
FAULTS = ("drop", "dirt", "noise")


def disc(side, row, column, radius=RADIUS):
    """1 within the fault, 0 outside, its edge two hundredths of the side wide."""
    down, right = np.mgrid[:side, :side] / side
    away = np.hypot(down - row, right - column)
    return (1 / (1 + np.exp(np.minimum((away - radius) / 0.01, 50)))).astype(np.float32)


def put(images, fault, row, column, rng):
    """Images (N, S, S, 3) in 0..255 with a fault on the lens.

    A drop shows the scene upside down and blurred, a little brighter, with a highlight; dirt holds back 85 %
    of the light; noise replaces the picture by independent pixels.
    """
    x = images.astype(np.float32).transpose(0, 3, 1, 2) / 255
    side = x.shape[2]
    cover = disc(side, row, column)
    if fault == "drop":
        inside = gaussian(np.ascontiguousarray(x[:, :, ::-1, ::-1]), 0.02 * side) * 1.15 + 0.05
        shine = disc(side, row - 0.4 * RADIUS, column - 0.4 * RADIUS, 0.25 * RADIUS)
        inside = inside * (1 - shine) + shine
    elif fault == "dirt":
        inside = 0.15 * x + 0.85 * np.float32([0.30, 0.27, 0.22])[:, None, None]
    else:
        inside = rng.uniform(size=x.shape).astype(np.float32)
    mixed = np.clip(x * (1 - cover) + cover * inside, 0, 1)
    return np.rint(mixed * 255).astype(np.uint8).transpose(0, 2, 3, 1), cover > 0.5


def model(name):
    """Network, its preprocessing, images, images for calibration, and what the reference calls Hebbian."""
    if name == "cifar":
        from tests.models.cifar import factory, preprocess

        images = read_jpegs("cifar10_test_jpeg", 32)[0]
        return factory()[0], preprocess, images[:-512], images[-512:], ("stem", "norm")
    from tests.models.lite0 import factory, preprocess
    from tests.recipes.make_lite0_bundle import photographs

    images, _, held, _ = photographs()
    return factory()[0], preprocess, images, held, ("_conv_stem", "_bn0")


def input_gradient(twin, batch):
    """|dL/dx| over the channels ``(N, H, W)``, L the mean entropy under batch statistics."""
    twin.alpha = 1.0
    x = torch.tensor(batch, dtype=twin.dtype, requires_grad=True)
    torch.distributions.Categorical(logits=twin.net(x)).entropy().mean().backward()
    return x.grad.norm(dim=1).numpy()


def product(layers):
    """The layers' min-max normalised heats multiplied, in logarithms; frame by frame."""
    found = 0.0
    for m in layers:
        low, high = (f(m.heat, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
        found = found + np.log((m.heat - low) / (high - low + 1e-12) + 1e-6)
    return np.exp(found - found.max((1, 2), keepdims=True))


def random_map(shape, rng):
    noise = np.abs(rng.normal(size=(shape[0], 1, *shape[1:])).astype(np.float32))
    return gaussian(noise, 0.04 * shape[-1])[:, 0]


def scores(heat, region):
    """Lift and whether the hottest place is inside, of maps ``(N, H, W)``."""
    flat, inside = heat.reshape(len(heat), -1), region.ravel()
    lift = flat[:, inside].sum(1) / flat.sum(1) / inside.mean()
    return lift, inside[flat.argmax(1)]


def maps_of(e, plain, twin, batch, rng):
    """By name: maps of each frame ``(N, H, W)``, and of the batch ``(H, W)``."""
    found = {f"{name} part": (part.heat, part.place) for name, part in e.parts.items()}
    part = plain.parts["statistics"]
    found["statistics part, as it is"] = part.heat, part.place
    drawn = {
        "gradient part, product of layers": product(
            [m for m in e.layers if m.kind == "norm" and m.heat is not None]
        ),
        "input gradient": input_gradient(twin, batch),
        "smoothed noise": random_map(batch[:, 0].shape, rng),
    }
    return found | {name: (heat, heat.mean(0)) for name, heat in drawn.items()}


def measure(bundle, twin, preprocess, images, batches):
    """Rows of figures: fault, map, and the means over frames and batches."""
    run, method, rng = AdaptSession(bundle).run, Tent(), np.random.default_rng(0)
    state, usual = method.init(bundle.manifest, bundle.source_slots), bundle.calibration()
    for fault in FAULTS:
        found = {}
        for k in range(batches):
            chosen = images[(np.arange(BATCH) + k * BATCH) % len(images)]
            row, column = rng.uniform(0.2, 0.8, 2)
            faulty, region = put(chosen, fault, row, column, rng)
            for world, shown in (("fault", faulty), ("clean", chosen)):
                batch = preprocess(shown).numpy()
                heard = Heard(run)
                after, _ = method.adapt(state, batch, heard)
                given = bundle.manifest, run, heard.call, state, after
                plain = trace(*given)
                e = trace(*given, usual)
                for name, (heat, place) in maps_of(e, plain, twin, batch, rng).items():
                    row_of = found.setdefault(name, {})
                    for of, maps in (("frame", heat), ("batch", place[None])):
                        for what, values in zip(("lift", "hits"), scores(maps, region)):
                            row_of.setdefault(f"{of} {what} {world}", []).extend(values)
        for name, row_of in found.items():
            yield {"fault": fault, "map": name, **{k: float(np.mean(v)) for k, v in row_of.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=("cifar", "lite0"))
    parser.add_argument("--bundle", help="one of that model that was exported with --explain")
    parser.add_argument("--batches", type=int, default=16)
    parser.add_argument("--json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    net, preprocess, images, held, hebbian = model(given.model)
    with tempfile.TemporaryDirectory() as scratch:
        if given.bundle:
            bundle = Bundle(given.bundle)
        else:
            x = preprocess(held)
            out = Path(scratch) / "m.tta"
            bundle = to_bundle(net, x[:4], out, samples=x.numpy(), explain=True).bundle
        twin = Twin(net, hebbian, torch.float32)
        rows = []
        heads = [f"{of}: lift | (clean) | hits | (clean)" for of in ("frame", "batch")]
        print("| " + " | ".join(["fault", "map", *heads]) + " |")
        for row in measure(bundle, twin, preprocess, images, given.batches):
            rows.append(row)
            cells = [
                f"{row[f'{of} lift {w}']:.2f}"
                if what == "lift"
                else f"{100 * row[f'{of} hits {w}']:.0f} %"
                for of in ("frame", "batch")
                for what in ("lift", "hits")
                for w in ("fault", "clean")
            ]
            print("| " + " | ".join([row["fault"], row["map"], *cells]) + " |", flush=True)
    if given.json:
        Path(given.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
