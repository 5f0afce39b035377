"""The host's session against the emulated device, on a clock that we turn: no waits, no ports."""

import random

import numpy as np
import pytest

from tta.firmware_bridge import normalization
from tta.firmware_bridge.clock import Clock
from tta.firmware_bridge.emulated import EmulatedDevice
from tta.firmware_bridge.messages import Channel
from tta.firmware_bridge.protocol import Ack, Config, Hello, Norm, Schema, Status, frame
from tta.firmware_bridge.session import CREDIT_FRAMES, Command, Samples, Session

SCHEMA = Schema(
    (Channel("ax", "g", 1 / 2048, -16, 16), Channel("wx", "°/s", 0.1, -2000, 2000)), 0, 50_000
)


class Cable:
    """A device at 50 Hz and a session, joined; ``damage`` changes the bytes either way."""

    def __init__(self, damage=lambda data: data, **options):
        self.device = EmulatedDevice(SCHEMA, **options)
        self.session = Session()
        self.damage, self.now_s, self.events, self.inputs = damage, 0.0, [], []
        self.host_away = 1000.0
        self.session.connect()

    def run(self, seconds):
        for _ in range(round(seconds * 50)):
            self.now_s += 0.02
            k = len(self.inputs)
            sample = np.array([k % 3000 - 1500, 1000 - k % 777], "<i2")
            self.inputs.append(sample)
            self.device.push(sample)
            down = self.damage(self.session.due(self.now_s + self.host_away))
            up = self.damage(self.device.poll(down, self.now_s))
            self.events += self.session.feed(up, self.now_s + self.host_away)
        return self

    def samples(self):
        return [e for e in self.events if isinstance(e, Samples)]


def in_units(samples):
    return np.array(samples) * [1 / 2048, 0.1]


def test_readings_come_in_units_and_in_order():
    cable = Cable().run(4)
    got = np.concatenate([s.values for s in cable.samples()])
    assert got.dtype == np.float32 and len(got) >= 190
    np.testing.assert_allclose(got, in_units(cable.inputs[: len(got)]), rtol=1e-6)
    assert cable.session.tally.lost_frames == cable.session.tally.lost_samples == 0
    assert [type(e) for e in cable.events if not isinstance(e, Samples)].count(Hello) == 2
    assert any(isinstance(e, Status) for e in cable.events)


def test_frames_lost_on_the_way_are_counted_on_both_sides():
    rng = random.Random(1)

    def damage(data):
        if data and rng.random() < 0.1:
            k = rng.randrange(len(data))
            return data[:k] + bytes([data[k] ^ 1 << rng.randrange(8)]) + data[k + 1 :]
        return data

    cable = Cable(damage).run(60)
    cable.damage = lambda data: data
    cable.run(2)
    tally = cable.session.tally
    assert tally.lost_frames > 5
    assert tally.frames + tally.lost_frames == cable.device.sent
    last = cable.samples()[-1]
    assert tally.samples + tally.lost_samples == last.first + len(last.values)
    assert tally.restarts == 0
    firsts = [s.first for s in cable.samples()]
    assert firsts == sorted(set(firsts))
    for s in cable.samples():  # whatever came is what was measured
        np.testing.assert_allclose(
            s.values, in_units(cable.inputs[s.first : s.first + len(s.values)]), rtol=1e-6
        )


def test_a_host_that_does_not_listen_makes_the_device_drop_and_count():
    cable = Cable(ring=100).run(2)
    before = cable.session.tally.samples
    held, cable.damage = cable.damage, lambda data: b""
    cable.run(20)
    assert cable.device.overruns > 0
    cable.damage = held
    cable.run(5)
    tally = cable.session.tally
    assert tally.samples > before and tally.lost_samples > 0
    last = cable.samples()[-1]
    assert tally.samples + tally.lost_samples == last.first + len(last.values)


def test_lost_frames_never_use_up_the_credit():
    rng = random.Random(2)
    cable = Cable(lambda data: b"" if rng.random() < 0.5 else data).run(60)
    cable.damage = lambda data: data
    before = cable.session.tally.samples
    cable.run(4)
    assert cable.session.tally.samples - before >= 150
    assert CREDIT_FRAMES > 4


def test_quiet_is_heartbeats_only():
    cable = Cable().run(2)
    cable.session.quiet = True
    cable.run(4)
    count, beats = len(cable.samples()), sum(isinstance(e, Status) for e in cable.events)
    cable.run(5)
    assert len(cable.samples()) == count
    assert sum(isinstance(e, Status) for e in cable.events) == beats + 5
    cable.session.quiet = False
    cable.run(2)
    assert len(cable.samples()) > count


def test_a_norm_moves_to_the_device_and_readings_stay():
    cable = Cable().run(2)
    norm = normalization.make(1, np.array([0.1, 60.0]), np.array([0.4, 20.0]), SCHEMA)
    command = cable.session.normalize(norm)
    cable.run(4)
    assert command.ack is not None and command.ack.norm_epoch == 1 and not command.refused
    epochs = [s.epoch for s in cable.samples()]
    assert epochs == sorted(epochs) and set(epochs) == {0, 1}
    step = normalization.finest(norm, SCHEMA)
    for s in cable.samples():
        expected = in_units(cable.inputs[s.first : s.first + len(s.values)])
        assert (np.abs(s.values - expected) <= (step if s.epoch else 1e-4) * 1.001).all()
    switch = next(s for s in cable.samples() if s.epoch)
    assert command.ack.first == switch.first
    cable.session.normalize(Norm(0))
    cable.run(2)
    assert cable.samples()[-1].epoch == 0


def test_a_lost_ack_is_asked_for_again_and_acted_on_once():
    cable = Cable().run(2)
    command = cable.session.normalize(
        normalization.make(1, np.zeros(2), np.array([1.0, 50.0]), SCHEMA)
    )
    lost = []

    def damage(data):
        if any(isinstance(m, int) for m in lost) or b"\x05" not in data:
            return data
        lost.append(1)
        return b""

    cable.damage = damage
    cable.run(3)
    assert lost and command.ack is not None and cable.session.tally.retries >= 1
    assert cable.device.epoch == 1


def test_a_command_that_nobody_answers_fails_in_time():
    cable = Cable().run(2)
    command = cable.session.configure(Config(window=5))
    cable.damage = lambda data: b""
    cable.run(5)
    assert command.ack is None and command.over.is_set()
    assert "did not answer within 3 s" in command.failure


def test_epochs_come_round_after_all_others():
    session = Session()
    epochs = [session.free_epoch() for _ in range(600)]
    assert set(epochs) == set(range(1, 256))
    assert all(len(set(epochs[k : k + 255])) == 255 for k in range(345))


def test_refusals_are_said():
    cable = Cable(takes_norm=False).run(2)
    command = cable.session.normalize(normalization.make(1, np.zeros(2), np.ones(2), SCHEMA))
    too_much = cable.session.configure(Config(window=60_000))
    cable.run(2)
    assert command.refused == "not supported, or switched off in the firmware"
    assert too_much.refused == "out of range"


@pytest.mark.parametrize("announced", [True, False])
def test_a_restart_is_seen_and_numbers_begin_anew(announced):
    cable = Cable().run(5)
    cable.session.normalize(normalization.make(1, np.zeros(2), np.array([1.0, 50.0]), SCHEMA))
    cable.run(5)
    cable.device.start(cable.now_s)
    cable.inputs.clear()
    if not announced:
        cable.damage = lambda data: b""
        cable.run(3)
        cable.damage = lambda data: data
    count = len(cable.samples())
    cable.run(5)
    new = cable.samples()[count:]
    assert cable.session.tally.restarts == 1
    assert [s.restarted for s in new] == [True] + [False] * (len(new) - 1)
    assert {s.epoch for s in new} == {0}
    life = cable.session.tally.frames - cable.session.before.frames
    lost = cable.session.tally.lost_frames
    assert life + lost == cable.device.sent and (lost > 0) is not announced
    for s in new:
        np.testing.assert_allclose(
            s.values, in_units(cable.inputs[s.first : s.first + len(s.values)]), rtol=1e-6
        )


def test_another_hosts_norm_is_taken_back():
    cable = Cable().run(2)
    cable.session.normalize(normalization.make(9, np.zeros(2), np.ones(2), SCHEMA))
    cable.run(2)
    cable.session = Session()  # a host that never made epoch 9
    cable.run(4)
    assert cable.device.epoch == 0 and cable.samples()[-1].epoch == 0
    assert cable.session.tally.unknown_epoch >= 0


def test_channels_can_be_chosen():
    cable = Cable().run(2)
    command = cable.session.configure(Config(mask=0b10, window=7))
    cable.run(2)
    assert command.ack is not None and cable.samples()[-1].values.shape == (7, 1)


def test_another_schema_after_a_reconnection_is_noticed():
    cable = Cable().run(2)
    assert cable.session.changed_from is None
    cable.device = EmulatedDevice(Schema((Channel("t", "K"),)))
    cable.session.connect()
    hello = frame(Hello(cable.device.schema), 0, 0, host=False)
    cable.session.feed(hello, cable.now_s)
    changed = cable.session.changed_from
    assert changed is not None and changed.hash == SCHEMA.hash


def test_answers_to_nothing_are_counted():
    cable = Cable().run(2)
    cable.session.feed(frame(Ack(9, 6), 1, 0, SCHEMA.hash, host=False), cable.now_s)
    assert cable.session.tally.unasked == 1


def test_clock_offset_and_drift():
    cable = Cable(ppm=80.0).run(120)
    clock = cable.session.clock
    assert clock.exchanges >= 15 and abs(clock.drift_ppm - 80) < 5
    device_us = (cable.now_s) * (1e6 + 80)
    assert abs(clock.to_host(device_us) - (cable.now_s + cable.host_away)) < 1e-3


def test_clock_wraps_and_steps_back():
    clock = Clock()
    assert clock.unwrap(2**32 - 10) == 2**32 - 10
    assert clock.unwrap(5) == 2**32 + 5
    assert clock.unwrap(2) == 2**32 + 2 and clock.backwards == 1


def test_delayed_answers_do_not_move_the_clock(rng):
    """Half of the exchanges are held back up to 50 ms on one way; the line keeps to the quick ones."""
    clock = Clock()
    for k in range(60):
        t = 10.0 * k
        late = rng.uniform(0, 0.05) if k % 2 else 0.0
        device_us = round((t + 0.0005 + late) * 1.00005e6)
        clock.exchange(t, device_us, device_us + 100, t + 0.001 + late + 0.0001)
    assert abs(clock.drift_ppm - 50) < 1
    assert abs(clock.to_host(600e6 * 1.00005) - 600.0) < 5e-4


def test_time_that_goes_backwards_is_counted_and_never_reported():
    cable = Cable().run(2)
    cable.device._born_s += 1.0  # the device's clock falls back by a second
    cable.run(2)
    assert cable.session.clock.backwards == 1 and cable.session.tally.restarts == 0


def test_samples_of_an_unknown_norm_are_missing_from_the_next():
    """Another host's norm was in force for a while: no window goes over what it took."""
    cable = Cable().run(2)
    count, raw = len(cable.samples()), cable.device._norm
    # as the device does to another host's NORM, without this one
    cable.device._norm = normalization.make(9, np.zeros(2), np.ones(2), SCHEMA)
    cable.device.epoch = 9
    cable.run(1)
    cable.device._norm, cable.device.epoch = raw, 0
    cable.run(2)
    first = cable.samples()[count]
    before = cable.samples()[count - 1]
    assert cable.session.tally.unknown_epoch > 0 and first.epoch == 0
    assert first.lost_samples == first.first - before.first - len(before.values) > 0


def test_a_vector_in_parts_begins_again_when_the_device_does():
    """It was reset between two parts: the second alone would be a damaged vector."""
    cable = Cable().run(2)
    norm = normalization.make(1, np.zeros(2), np.array([1.0, 50.0]), SCHEMA)
    cable.session.norms[1] = norm
    command = cable.session._enqueue(Command(list(norm.parts(1)), norm))
    while not cable.session._part:
        cable.run(0.02)
    cable.device.start(cable.now_s)
    cable.inputs.clear()
    cable.run(4)
    assert command.ack is not None and not command.refused and cable.device.epoch == 1


def test_a_command_that_makes_the_device_begin_anew_is_not_sent_for_ever():
    cable = Cable().run(2)
    command = cable.session.configure(Config(window=5))
    configure, begun, crashed = cable.device._configure, [], []

    def crash(config):
        begun.append(1)
        crashed.append(1)
        cable.device.start(cable.now_s)
        return configure(config)

    def damage(data):  # what it was about to say as it crashed is never heard
        if crashed:
            crashed.clear()
            return b""
        return data

    cable.device._configure, cable.damage = crash, damage
    cable.run(60)
    assert command.over.is_set() and command.ack is None and 1 < len(begun) <= 20
