"""Where a step came from: parts, layers, frames and places of one step."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.bundles import batches, bundle, explained
from tta.adapters.bn_stats import BnStats
from tta.adapters.nhl import Nhl
from tta.adapters.tent import Tent
from tta.errors import BundleError
from tta.explanation import explain
from tta.explanation.attribution import Heard, trace
from tta.explanation.heat import half, onto
from tta.export.calibrate import PLACED, usual_places
from tta.records import Slot, Step
from tta.runtime.session import AdaptSession

NAME = "fashion:factory"
PATCH = slice(5, 13), slice(15, 23)  # of 28 x 28: 8 % of the area


@pytest.fixture(scope="module")
def patched():
    """Sixteen photographs with a patch of noise at one place, preprocessed."""
    x = batches(NAME, 16, seed=4).copy()
    rng = np.random.default_rng(0)
    x[:, :, PATCH[0], PATCH[1]] = rng.uniform(x.min(), x.max(), (16, 1, 8, 8))
    return x


def step(method, batch, name=NAME):
    found = explained(name)
    return explain(found, method.init(found.manifest, found.source_slots), batch, method)


@pytest.mark.parametrize("method", [Tent(), Nhl(), Nhl(mode="first"), BnStats()])
def test_shares_are_shares(method, patched):
    e = step(method, patched)
    assert e.step == 1 and e.layers
    for part in e.parts.values():
        assert part.heat.shape == (16, 28, 28) and part.place.shape == (28, 28)
        assert part.heat.mean() == pytest.approx(1, abs=1e-3)
        assert part.place.mean() == pytest.approx(1, abs=1e-3)
        assert part.frames.sum() == pytest.approx(1) and (part.frames >= 0).all()
    kinds = {
        "statistics": ("statistics",),
        "gradient": ("norm", "modulator"),
        "hebbian": ("hebbian",),
    }
    for name in e.parts:
        chosen = [m for m in e.layers if m.kind in kinds[name]]
        assert sum(m.share for m in chosen) == pytest.approx(1)
    for m in e.layers:
        assert m.along.sum() == pytest.approx(1) and (m.values >= 0).all() and m.change > 0


def test_parts_are_what_the_method_changes(patched):
    assert set(step(Tent(), patched).parts) == {"statistics", "gradient"}
    assert set(step(Nhl(), patched).parts) == {"statistics", "gradient", "hebbian"}
    first = step(Nhl(mode="first"), patched)
    assert {m.kind for m in first.layers} == {"statistics", "modulator", "hebbian"}
    still = step(Nhl(lr=0), patched)
    assert set(still.parts) == {"statistics", "hebbian"} and still.without_gradient
    alone = step(BnStats(), patched)
    assert set(alone.parts) == {"statistics"} and alone.without_gradient
    assert not step(Tent(), patched).without_gradient
    followed = step(Nhl(lr=0, eta=0), patched).parts["statistics"].heat
    assert np.allclose(alone.parts["statistics"].heat, followed, rtol=1e-3, atol=1e-5)


def test_a_patch_of_noise_shows_up_where_it_is(patched):
    """The hottest place of the step lies in the patch, and without the patch it lies elsewhere."""

    def inside(place):
        at = np.unravel_index(place.argmax(), place.shape)
        return all(part.start <= k < part.stop for k, part in zip(at, PATCH))

    found, clean = step(Nhl(), patched), step(Nhl(), batches(NAME, 16, seed=4))
    for name in ("statistics", "hebbian"):
        assert inside(found.parts[name].place) and not inside(clean.parts[name].place)
        assert found.parts[name].place[PATCH].sum() > clean.parts[name].place[PATCH].sum()


def test_what_source_frames_add_is_taken_off(patched):
    """So the patch holds more of the statistics' heat, and its border less."""
    found, method = explained(NAME), Tent()
    state, run = method.init(found.manifest, found.source_slots), AdaptSession(found).run
    heard = Heard(run)
    after, _ = method.adapt(state, patched, heard)
    given = found.manifest, run, heard.call, state, after
    plain, beyond = trace(*given), trace(*given, found.calibration())
    places = [e.parts["statistics"].place for e in (plain, beyond)]
    inside = [p[PATCH].sum() / p.sum() for p in places]
    assert inside[1] > inside[0]
    assert np.array_equal(
        plain.parts["gradient"].heat, beyond.parts["gradient"].heat
    )  # which has no such reference
    for one, other in zip(plain.layers, beyond.layers):
        assert one.size == other.size and np.array_equal(one.values, other.values)


def test_what_source_frames_add():
    """Mean squares of contributions, and of their means over pairs of different frames of a batch."""
    rng = np.random.default_rng(0)
    c = rng.normal(size=(40, 7, 5)) + rng.normal(size=(7, 5))  # frames, channels, positions

    class Session:
        def run(self, graph, batch, slots):
            assert graph == "explain/batch"
            mean, var = batch[:, :4], batch[:, 4:]  # the two slots' channels
            outputs = {}
            for kind, part in (("mean", mean), ("var", var)):
                outputs[f"map.norm.{kind}"] = np.linalg.norm(part, axis=1)
                outputs[f"place.norm.{kind}"] = np.linalg.norm(part.sum(0), axis=0)
            return Step(outputs)

    slots = tuple(Slot(f"norm.{k}", k, "norm", (4,)) for k in ("mean", "var"))
    manifest = SimpleNamespace(
        provides=("explain/batch",),
        input=SimpleNamespace(sample=(7, 5)),
        named=lambda *roles: tuple(s for s in slots if s.role in roles),
    )
    found = usual_places(SimpleNamespace(manifest=manifest, source_slots={}), Session(), c)
    assert np.allclose(found["explain.frame.norm"], (c**2).sum(1).mean(0), rtol=1e-5)
    pairs = [
        (c[i] * c[j]).sum(0)
        for i in range(40)
        for j in range(40)
        if i != j and i // PLACED == j // PLACED
    ]
    assert np.allclose(found["explain.batch.norm"], np.maximum(np.mean(pairs, 0), 0), rtol=1e-4)


def test_a_frame_unlike_the_others_has_the_largest_share():
    batch = batches(NAME, 8, seed=5).copy()
    batch[3] = -batch[3] * 3
    e = step(Tent(), batch)
    assert e.parts["statistics"].frames.argmax() == 3
    assert e.parts["statistics"].frames[3] > 2 / 8


def test_the_gradient_is_the_one_that_the_method_descends(patched):
    """Of several runs the last; its inputs are those of the method."""

    class Twice(Tent):
        def adapt(self, state, batch, run):
            run("step/entropy", batch, state.slots, alpha=1.0)
            near = {
                k: v * np.float32(1.1) if k.endswith(".scale") else v
                for k, v in state.slots.items()
            }
            weight = np.arange(len(batch), dtype=np.float32)
            found = run("step/entropy", batch, near, alpha=0.5, sample_weight=weight)
            run("batch", batch, near, alpha=0.5)
            return self.update(state, found), found.outputs

    method, found = Twice(), explained(NAME)
    state = method.init(found.manifest, found.source_slots)
    run = AdaptSession(found).run
    heard = Heard(run)
    after, _ = method.adapt(state, patched, heard)
    e = trace(found.manifest, run, heard.call, state, after)
    again = run(heard.call.graph, patched, heard.call.slots, **heard.call.inputs)
    assert heard.call.inputs["alpha"] == 0.5
    for m in (m for m in e.layers if m.kind == "norm"):
        names = (f"{m.layer}.scale", f"{m.layer}.bias")
        size = np.sqrt(sum(float((again.gradients[n] ** 2).sum()) for n in names))
        assert m.size == pytest.approx(size, rel=1e-3)


def test_layers_without_places_have_shares_but_no_heat():
    e = step(Tent(), batches("mlp:factory", 8), "mlp:factory")
    assert e.layers and not e.parts
    assert all(m.heat is None for m in e.layers)


def test_tokens_go_back_on_their_grid():
    e = step(Tent(), batches("vit:factory", 4), "vit:factory")
    assert set(e.parts) == {"gradient"}
    assert e.parts["gradient"].heat.shape == (4, *batches("vit:factory", 4).shape[2:])
    values = np.zeros((1, 17))
    values[0, 1 + 4 + 2] = 1  # second row, third column, behind a class token
    heat = onto(values, (3, 32, 32), (3, 32, 32))
    assert np.unravel_index(heat[0].argmax(), (32, 32))[0] // 8 == 1
    assert np.unravel_index(heat[0].argmax(), (32, 32))[1] // 8 == 2
    assert onto(np.ones((1, 18)), (3, 32, 32), (3, 32, 32)) is None


def test_a_bundle_without_the_graph_says_the_cure():
    found = bundle("mlp:factory")
    for method, graph in ((Tent(), "explain/entropy"), (BnStats(), "explain/batch")):
        state = method.init(found.manifest, found.source_slots)
        with pytest.raises(
            BundleError, match=rf"no graph '{graph}'.*export it again with --explain"
        ):
            explain(found, state, batches("mlp:factory", 8), method)


def test_maps_are_stretched_bilinearly():
    rng = np.random.default_rng(3)
    values = rng.uniform(size=(2, 5, 7))
    want = F.interpolate(torch.tensor(values)[:, None], (20, 21), mode="bilinear")[:, 0].numpy()
    heat = onto(values, (3, 20, 21), (3, 20, 21))
    assert np.allclose(heat, want / want.mean(), atol=1e-5)
    line = rng.uniform(size=(2, 6))
    want = F.interpolate(torch.tensor(line)[:, None], 18, mode="linear")[:, 0].numpy()
    assert np.allclose(onto(line, (4, None), (4, 18)), want / want.mean(), atol=1e-5)


def test_what_has_no_places():
    assert onto(np.ones((4, 1, 1)), (3, 8, 8), (3, 8, 8)) is None  # behind global pooling
    assert onto(np.ones(4), (3, 8, 8), (3, 8, 8)) is None
    assert onto(np.zeros((4, 4, 4)), (3, 8, 8), (3, 8, 8)) is None
    assert onto(np.ones((4, 5)), (16,), (16,)) is None


def test_half_of_the_heat():
    assert half(np.ones(100)) == 0.5
    assert half(np.r_[np.zeros(99), 1.0]) == 0.01
