"""The control of the NHL study, its bit-for-bit check, its search, and that it goes on where it was."""

import shutil
import time

import numpy as np
import pytest
import torch

from tests.autograd import patches, soft_hebbian
from tests.bench.nhl_study import cells, plan
from tests.bench.nhl_study.bundles import add_change
from tests.bench.nhl_study.sham import Sham
from tests.bundles import batches, bundle, model
from tta.adapters.nhl import Nhl
from tta.bundle import Bundle
from tta.runtime.datasets._rows import Rows
from tta.runtime.session import AdaptSession

NAME, LAYER = "sensor_cnn:factory", "features.0"
ETA, T_INVERT = 2e-2, 3.0


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "sensor.tta"
    shutil.copytree(bundle(NAME).path, folder)
    add_change(folder)
    return Bundle(folder)


def test_the_cut_graph_makes_the_same_weights(cut):
    session, x = AdaptSession(cut), batches(NAME, 6)
    runs = [session.run(g, x, cut.source_slots, eta=ETA) for g in ("step/nhl", "step/change")]
    assert set(runs[1].new) == {f"{LAYER}.weight"} and not runs[1].outputs
    assert np.array_equal(*(step.new[f"{LAYER}.weight"] for step in runs))


@pytest.mark.parametrize("lr", [0.0, 1e-2])
@pytest.mark.parametrize("turn", ["fresh", "steady"])
def test_the_sham_turns_as_far_and_elsewhere(cut, turn, lr):
    """Against the rule on unfolded patches in float64, from the sham's own filters at each step."""
    session, layer = AdaptSession(cut), model(NAME)[0].get_submodule(LAYER)
    method = Sham(ETA, turn, lr=lr, t_invert=T_INVERT, seed=3)
    state = method.init(cut.manifest, cut.source_slots)
    source = torch.tensor(cut.source_slots[f"{LAYER}.weight"]).double().flatten(1)
    steps = []
    for k in range(3):
        x = batches(NAME, 8, k)
        w = torch.tensor(state.slots[f"{LAYER}.weight"]).double().flatten(1)
        rows = patches(torch.tensor(x).double(), layer)
        change, _ = soft_hebbian(rows, w, T_INVERT, target=source.square().sum(1))
        hebbian = ETA * change / change.abs().max()
        state, outputs = method.adapt(state, x, session.run)
        assert np.isfinite(outputs["logits"]).all()
        new = torch.tensor(state.slots[f"{LAYER}.weight"]).double().flatten(1)
        assert torch.allclose(new.norm(dim=1), source.norm(dim=1), rtol=1e-6)
        square = w.square().sum(1)
        step = new * (square / (new * w).sum(1))[:, None] - w  # before its length was mended
        assert ((step * w).sum(1).abs() <= 1e-5 * step.norm(dim=1) * w.norm(dim=1)).all()
        assert torch.allclose(step.norm(dim=1), hebbian.norm(dim=1), rtol=2e-3)
        cosine = (step * hebbian).sum(1) / (step.norm(dim=1) * hebbian.norm(dim=1))
        assert cosine.abs().mean() < 0.4
        steps.append(step / step.norm(dim=1, keepdim=True))
    alike = float((steps[0] * steps[1]).sum(1).mean())
    assert alike > 0.9 if turn == "steady" else abs(alike) < 0.2


@pytest.mark.parametrize("lr", [0.0, 1e-2])
def test_with_the_hebbian_turn_it_is_nhl(cut, lr):
    session = AdaptSession(cut)
    ours, theirs = Sham(ETA, "hebbian", lr=lr), Nhl(ETA, predict="pre", lr=lr)
    states = [m.init(cut.manifest, cut.source_slots) for m in (ours, theirs)]
    for k in range(4):
        x = batches(NAME, 8, k)
        pairs = [m.adapt(s, x, session.run) for m, s in zip((ours, theirs), states)]
        states = [state for state, _ in pairs]
        assert np.allclose(*(out["logits"] for _, out in pairs), atol=1e-4)
    for name in (f"{LAYER}.weight", "features.1.scale"):
        assert np.allclose(*(s.slots[name] for s in states), atol=1e-4)
    moved = states[0].slots[f"{LAYER}.weight"] - cut.source_slots[f"{LAYER}.weight"]
    assert np.abs(moved).max() > ETA


@pytest.fixture
def laboratory(cut, tmp_path, monkeypatch):
    x = np.concatenate([batches(NAME, 8, k) for k in range(3)])
    monkeypatch.setattr(cells.bundles, "bundle", lambda folder, name: cut)
    monkeypatch.setattr(cells, "_data", lambda name: Rows(x, np.arange(24) % 7, name="windows"))
    (tmp_path / "bundles" / "sensor.tta").mkdir(parents=True)
    return lambda until: cells.Laboratory(tmp_path, until)


def cell(adapter):
    return cells.Cell("sensor", "windows", adapter, "clean", (), 24, 8)


def test_the_digest_tells_whether_two_methods_are_one(laboratory):
    lab = laboratory(time.time() + 60)
    digests = [
        lab(cell(a)).digest for a in ("tent", plan.nhl(eta=0), plan.nhl(eta=1e-3), "tent?lr=0.003")
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_what_is_done_is_kept_and_nothing_begins_too_late(laboratory, cut):
    first = laboratory(time.time() + 60)(cell("tent"))
    late = laboratory(time.time() - 1)
    again = late(cell("tent"))
    assert again.rows == first.rows and again.digest == first.digest
    assert all(np.array_equal(first.images[k], again.images[k]) for k in first.images)
    with pytest.raises(cells.OutOfTime):
        late(cell("bn_stats"))


def test_stored_inputs_are_those_of_any_material(cut):
    x = np.concatenate([batches(NAME, 8, k) for k in range(3)])
    data = Rows(x, np.arange(24) % 7, name="windows")
    plain, stored = (kind(cut, data, 24) for kind in (cells.Material, cells.Stored))
    for items in ([5, 3, 20], [3, 4], list(range(24))):
        want = plain.inputs(np.array(items), "none", 0)
        assert np.array_equal(stored.inputs(np.array(items), "none", 0), want)


def test_the_search_keeps_the_best_of_each_choice():
    class Known:
        def __init__(self, error):
            self._error = error

        def error(self):
            return self._error

    def ask(cell):
        error = 30.0 - ("prior=64" in cell.adapter)
        error -= 2 * ("lr=0.003" in cell.adapter)
        error -= ("centre=true" in cell.adapter) + ("eta=0.001" in cell.adapter)
        error += ("anti=true" in cell.adapter) + ("alpha=0.9" in cell.adapter)
        assert set(cell.corruptions) == set(plan.SEARCHED)
        return Known(error + (cell.bundle == "resnet20-second"))

    search = plan.Search(ask)
    assert search.best["bn_stats"] == ("resnet20", "bn_stats?prior=64")
    assert search.best["tent"] == ("resnet20", "tent?lr=0.003")
    bundle, adapter = search.best["nhl"]
    options = dict(pair.split("=") for pair in adapter.partition("?")[2].split("&"))
    assert bundle == "resnet20"
    assert options == {"predict": "pre", "lr": "0.003", "eta": "0.001", "centre": "true"}
    missing = plan.Search(lambda cell: None if "centre" in cell.adapter else ask(cell))
    assert "nhl" not in missing.best and "tent" in missing.best


def test_no_corruption_is_on_both_sides():
    assert not set(plan.SEARCHED) & set(plan.HELD_OUT)
    assert len(plan.SEARCHED) + len(plan.HELD_OUT) == len(set(plan.CORRUPTIONS)) == 15
