"""NORM vectors: what a device does with them is what the host undoes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tta.firmware_bridge import normalization
from tta.firmware_bridge.messages import FLOAT32, Channel, Norm, Schema

SCHEMA = Schema((Channel("a", "g", 1 / 2048, -16, 16),))


@settings(deadline=None)
@given(st.integers(-5000, 5000), st.floats(10, 5000), st.integers(-30000, 30000))
def test_inverse_is_within_half_a_step(mean_steps, std_steps, x):
    mean, std = np.array([mean_steps / 2048]), np.array([std_steps / 2048])
    norm = normalization.make(1, mean, std, SCHEMA)
    y = normalization.apply(norm, np.array([[x]], "<i2"))
    if abs(int(y[0, 0])) >= 32767 or abs(x - norm.channels[0][0]) > 32767:
        return  # beyond 8 deviations, or beyond 16 bits from the mean: saturated
    gain, offset = normalization.affine(norm, SCHEMA)
    back = y[0] * gain + offset
    assert abs(back[0] - x / 2048) <= 0.5001 * normalization.finest(norm, SCHEMA)[0]


@settings(deadline=None)
@given(st.floats(20, 8000))
def test_normalized_readings_are_in_deviations(std_steps):
    norm = normalization.make(1, np.array([0.5]), np.array([std_steps / 2048]), SCHEMA)
    (mean, gain, shift) = norm.channels[0]
    assert mean == 1024 and 0x4000 <= gain <= 0x7FFF
    assert gain / 2.0**shift * std_steps * norm.scale == pytest.approx(1, rel=1e-4)


def test_floats():
    schema = Schema((Channel("a"), Channel("b")), FLOAT32)
    norm = normalization.make(3, np.array([1.0, -2.0]), np.array([0.5, 4.0]), schema)
    x = np.array([[1.0, 2.0], [3.0, -6.0]], np.float32)
    y = normalization.apply(norm, x)
    np.testing.assert_allclose(y, [[0, 1], [4, -1]])
    gain, offset = normalization.affine(norm, schema)
    np.testing.assert_allclose(y * gain + offset, x)


def test_raw_is_raw():
    x = np.array([[7]], "<i2")
    assert normalization.apply(Norm(0), x) is x
    gain, offset = normalization.affine(Norm(0), SCHEMA)
    assert gain.tolist() == [1 / 2048] and offset.tolist() == [0]


@pytest.mark.parametrize(
    ("epoch", "mean", "std", "message"),
    [
        (0, [0], [1], "epoch is 1 to 255"),
        (1, [0, 0], [1, 1], "1 channels have as many"),
        (1, [0], [0], "finite and positive"),
        (1, [np.nan], [1], "finite and positive"),
        (1, [17], [1], "mean 17 of channel a is beyond"),
        (1, [0], [1e9], "deviation 1e.09 of channel a is beyond"),
    ],
)
def test_refusals(epoch, mean, std, message):
    with pytest.raises(ValueError, match=message):
        normalization.make(epoch, np.array(mean, float), np.array(std, float), SCHEMA)


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_channel_whose_steps_are_worth_nothing(scale):
    """As a careless sketch may announce it: refused, and no division by zero."""
    schema = Schema((Channel("a", "g", 1.0), Channel("b", "g", scale)))
    with pytest.raises(ValueError, match="no fixed-point norm"):
        normalization.make(1, np.zeros(2), np.ones(2), schema)
