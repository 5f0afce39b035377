"""Every file in tta/detectors/ keeps the contract of a detector."""

import inspect
import json
import re

import numpy as np
import pytest

from tta import registry
from tta.errors import NotFoundError
from tta.gauge import calibratable, make_detector

NAMES = registry.names("tta.detectors")


def stream(shift, n=400, seed=0):
    x = np.random.default_rng(seed).standard_normal(n)
    x[n // 2 :] += shift
    return x.tolist()


def detections(detector, values):
    found = []
    for k, x in enumerate(values):
        detector.update(x)
        if detector.drift_detected:
            found.append(k)
    return found


def strict(name):
    """One that 200 values of noise do not excite."""
    bounds = {"cusum": 10.0, "page_hinkley": 20.0, "adwin": 12.0, "kswin": 2.2}
    return registry.load("tta.detectors", name)(threshold=bounds[name])


@pytest.mark.parametrize("name", NAMES)
def test_it_cites_its_source(name):
    assert re.search(r"\b(19|20)\d\d\b", registry.load("tta.detectors", name).__doc__)


@pytest.mark.parametrize("shift", (-2.0, 2.0))
@pytest.mark.parametrize("name", NAMES)
def test_it_finds_a_step_of_either_sign_and_not_before(name, shift):
    found = detections(strict(name), stream(shift))
    assert found and 200 <= found[0] < 240


@pytest.mark.parametrize("name", NAMES)
def test_constant_values_are_no_drift_and_stay_finite(name):
    for value in (0.0, 0.1):
        detector = strict(name)
        assert detections(detector, [value] * 500) == []
        assert np.isfinite(detector.statistic)


@pytest.mark.parametrize("name", NAMES)
def test_reset_forgets(name):
    detector = strict(name)
    detections(detector, stream(3.0)[:230])
    detector.reset()
    assert not detector.drift_detected
    assert detections(detector, stream(2.0)) == detections(strict(name), stream(2.0))


@pytest.mark.parametrize("name", NAMES)
def test_it_goes_on_from_its_dict_as_if_nothing_had_been(name):
    values = stream(1.5, 600)
    whole = strict(name)
    first = detections(whole, values[:290])
    stored = json.loads(json.dumps(whole.to_dict()))
    again = type(whole).from_dict(stored)
    assert again.to_dict() == whole.to_dict()
    rest = detections(again, values[290:])
    assert [*first, *[k + 290 for k in rest]] == detections(strict(name), values)
    assert json.loads(json.dumps(whole.to_dict())) == stored  # and it is no view of the first


@pytest.mark.parametrize("name", NAMES)
def test_a_higher_threshold_detects_no_sooner(name):
    values = stream(1.0, 800, seed=3)
    base = registry.load("tta.detectors", name)
    first = [
        (detections(base(threshold=bound), values) or [10**6])[0] for bound in (1.5, 3.0, 6.0, 12.0)
    ]
    assert first == sorted(first)


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_calibrated(name):
    assert calibratable(name)
    assert "threshold" in inspect.signature(registry.load("tta.detectors", name)).parameters


def test_an_unknown_one_names_the_nearest():
    with pytest.raises(NotFoundError, match="cusum"):
        make_detector("cusun")
    with pytest.raises(NotFoundError, match="update"):
        make_detector("builtins:object")
