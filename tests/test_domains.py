"""The memory of domains, and the classifier of kinds."""

import math

import numpy as np
import pytest

from tta.domains import CAPACITY, Bank
from tta.kinds import UNKNOWN, Kinds, fit, pattern, probabilities, regress, with_layers

ERRORS = {"a": 0.3, "b": 0.3}


def test_the_source_is_known_from_the_start():
    bank = Bank()
    assert bank.recall({"a": 0.5, "b": -0.4}, ERRORS) is bank.source
    assert bank.recall({"a": 5.0, "b": 0.0}, ERRORS) is None


def test_a_learned_domain_is_recalled_and_a_third_is_news():
    bank = Bank()
    dusk = bank.learn({"a": 6.0, "b": 0.0}, {}, False, 0.1)
    assert bank.recall({"a": 6.5, "b": 0.3}, ERRORS) is dusk
    assert bank.recall({"a": 6.5, "b": 9.0}, ERRORS) is None
    assert bank.recall({"a": -6.0, "b": 0.0}, ERRORS) is None


def test_the_nearest_of_two_is_recalled():
    bank = Bank()
    near, far = (bank.learn({"a": x, "b": 0.0}, {}, False, 0.1) for x in (10.0, 13.0))
    assert bank.recall({"a": 10.5, "b": 0.0}, ERRORS) is near
    assert bank.recall({"a": 12.8, "b": 0.0}, ERRORS) is far


def test_the_domain_visited_longest_ago_makes_room_but_never_the_source():
    bank = Bank()
    learned = [bank.learn({"a": 100.0 * 2**k}, {}, False, 0.1) for k in range(CAPACITY - 1)]
    assert bank.recall(learned[0].signature, {"a": 1.0}) is learned[0]
    bank.learn({"a": -500.0}, {}, True, 0.1)
    assert len(bank.domains) == CAPACITY and bank.source in bank.domains
    assert learned[0] in bank.domains and learned[1] not in bank.domains


def signatures(rng, n):
    """Two kinds that differ in direction, and one in size."""
    made, kinds = [], []
    for k in range(n):
        size = rng.uniform(5, 40)
        kind = ("lens_dirt", "camera_moved", "label_mix")[k % 3]
        way = {"lens_dirt": (1, 0.2, 0), "camera_moved": (0.2, 1, 0), "label_mix": (0, 0, 1)}[kind]
        made.append({m: size * w + rng.standard_normal() for m, w in zip("abc", way)})
        kinds.append(kind)
    return made, kinds


def test_kinds_learn_what_can_be_told_and_count_it(rng):
    train, test = signatures(rng, 120), signatures(rng, 120)
    stored = {f"drift.kinds.{k}": v for k, v in fit(*train, *test, list(range(120))).items()}
    kinds = Kinds(stored)
    assert kinds.kinds == ["camera_moved", "label_mix", "lens_dirt"]
    assert kinds.confusion.sum() == 60  # the odd half
    named = kinds.confusion[:, :-1]
    assert named.trace() >= 0.9 * named.sum() and named.sum() >= 40
    kind, share = kinds.name({"a": 20.0, "b": 4.0, "c": 0.0})
    assert kind == "lens_dirt" and 0.5 < share <= 1


def test_kinds_that_cannot_be_told_stay_unknown(rng):
    noise = [{"a": float(x), "b": float(y)} for x, y in rng.standard_normal((200, 2))]
    kinds = ["one", "two"] * 100
    stored = fit(noise, kinds, noise[::-1], kinds, list(range(200)))
    named = stored["confusion"][:, :-1]
    assert named.sum() <= 0.2 * stored["confusion"].sum()


def test_without_a_classifier_every_kind_is_unknown():
    kind, share = Kinds({}).name({"a": 9.0})
    assert kind == UNKNOWN and math.isnan(share)


def test_the_regression_is_at_its_optimum(rng):
    x, labels = rng.standard_normal((90, 4)), rng.integers(0, 3, 90)
    w = regress(x, labels, 3)
    wanted = np.eye(3)[labels]
    weight = (1 / wanted.sum(0))[labels] / 3
    slope = x.T @ ((probabilities(x, w) - wanted) * weight[:, None]) + 1e-3 * w
    assert np.abs(slope).max() < 1e-4


def test_patterns_have_size_and_direction():
    one = pattern([{"a": 3.0, "b": -4.0}], ["a", "b", "missing"])[0]
    assert one[:3] == pytest.approx([math.log(4), -math.log(5), 0])
    assert one[3:6] == pytest.approx([1.8, -2.4, 0], abs=1e-6) and one[6] == 1
    assert with_layers({"a": 1.0}, {"stem": 0.1}) == {"a": 1.0, "layer stem": pytest.approx(2.0)}
