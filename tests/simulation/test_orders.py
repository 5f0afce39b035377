import numpy as np
import pytest

from tta import registry
from tta.errors import NotFoundError, SourceError
from tta.simulation import build

NAMES = registry.names("tta.simulation.orders")
LABELS = np.random.default_rng(5).integers(0, 10, 2000)


def order(text, length=2000, labels=LABELS, seed=0):
    made = build("order", text)
    return made.indices(len(LABELS), length, labels, np.random.default_rng(seed))


def run_length(values):
    return len(values) / (1 + np.count_nonzero(np.diff(values)))


def test_the_folder_says_which_there_are():
    assert NAMES == ["dirichlet", "given", "iid", "sorted", "video"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [1, 100, 2000, 5000])
def test_items_are_those_of_the_data_and_the_seed_decides(name, length):
    items = order(name, length)
    assert items.shape == (length,) and items.min() >= 0 and items.max() < 2000
    assert np.array_equal(items, order(name, length))
    if name != "given" and length > 1:
        assert not np.array_equal(items, order(name, length, seed=1))


@pytest.mark.parametrize("name", ["given", "iid", "sorted", "dirichlet:0.1"])
def test_each_item_comes_once_before_one_comes_again(name):
    assert np.array_equal(np.sort(order(name)), np.arange(2000))
    assert np.bincount(order(name, 5000)).min() >= 2


def test_given_is_the_order_of_the_data():
    assert order("given", 4000).tolist() == [*range(2000)] * 2


def test_sorted_is_class_by_class_of_all_classes():
    classes = LABELS[order("sorted", 500)]
    assert (np.diff(classes) >= 0).all() and len(np.unique(classes)) == 10
    assert run_length(classes) > 40


def test_iid_has_no_runs():
    assert abs(run_length(LABELS[order("iid")]) - 10 / 9) < 0.03


def test_dirichlet_bursts_the_more_the_smaller_delta_is():
    def unevenness(text):
        slots = LABELS[order(text)].reshape(10, 200)
        shares = np.stack([np.bincount(s, minlength=10) for s in slots]) / 200
        return (shares**2).sum(1).mean()  # 0.1 for even ones, 1 for one class a slot

    found = [unevenness(f"dirichlet:{delta}") for delta in (0.01, 0.1, 1, 1000)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.5 and abs(found[3] - 0.1) < 0.01


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9, 0.99])
def test_video_has_the_correlation_of_an_ar1_process(correlation):
    length = 200_000
    score = np.random.default_rng(1).standard_normal(2000)[order(f"video:{correlation}", length)]
    score = (score - score.mean()) / score.std()
    for lag in (1, 2, 10):
        found = (score[:-lag] * score[lag:]).mean()
        assert abs(found - correlation**lag) < 0.05
    assert abs(run_length(score) * (1 - correlation) - 1) < 0.1


def test_bad_names_and_arguments():
    with pytest.raises(NotFoundError, match="no order named 'dirichlt'; known: dirichlet"):
        build("order", "dirichlt:0.1")
    for text in ("dirichlet:0", "dirichlet:-1", "dirichlet:nan", "dirichlet:x"):
        with pytest.raises(SourceError, match="write it as dirichlet:NUMBER, delta above 0"):
            build("order", text)
    for text in ("video:1", "video:-0.1"):
        with pytest.raises(SourceError, match="write it as video:NUMBER, the correlation"):
            build("order", text)
    with pytest.raises(SourceError, match="write it as iid, without an argument"):
        build("order", "iid:3")
