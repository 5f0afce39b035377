"""Messages of a real broker, and every payload that is not what was promised."""

import itertools
import os
import shutil
import socket
import subprocess
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta.errors import FrameError, SourceError
from tta.runtime.payload import KINDS, decode
from tta.runtime.source_uri import open_source

client = pytest.importorskip("paho.mqtt.client")
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
real = pytest.mark.skipif(MOSQUITTO is None, reason="no mosquitto: tests/recipes/stream-servers.sh")


class Broker:
    def __init__(self, folder):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self.config = folder / "mosquitto.conf"
        self.config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self.config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(500):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError("mosquitto does not listen")

    def stop(self):
        self.process.kill()
        self.process.wait()

    def publish(self, *payloads, topic="sensors/pump"):
        one = client.Client(client.CallbackAPIVersion.VERSION2)
        one.connect("127.0.0.1", self.port)
        one.loop_start()
        for payload in payloads:
            one.publish(topic, payload, qos=1).wait_for_publish(5)
        one.disconnect()
        one.loop_stop()


@pytest.fixture
def broker(tmp_path):
    made = Broker(tmp_path)
    yield made
    made.stop()


def take(source, count):
    return list(itertools.islice(source, count))


@real
def test_good_and_bad_payloads(broker, caplog):
    raw = np.array([7, 8], "<f4").tobytes()
    with open_source(f"mqtt://127.0.0.1:{broker.port}/sensors/%23?qos=1") as source:
        bad = [b"{}", b'{"a": "x"}', b"hello", b"\xff\xfe", b"", b"1,2,3", b"nan,1", b"1e99,1", raw]
        broker.publish(b'{"a": 1, "b": 2}', b"[3, 4]", *bad, b"5;6")
        frames = take(source, 3)
    assert [frame.data.tolist() for frame in frames] == [[1, 2], [3, 4], [5, 6]]
    assert [frame.seq for frame in frames] == [0, 1, 2 + len(bad)]  # no window spans what was lost
    assert source.errors == len(bad) and source.tally()["bad"] == len(bad)
    assert frames[0].meta == {"topic": "sensors/pump"} and source.live
    assert "a payload is no json" in caplog.text or "expected (C,)" in caplog.text


@real
def test_raw_bytes_are_readings_in_order_of_time(broker):
    uri = f"mqtt://127.0.0.1:{broker.port}/sensors/pump?kind=float32&channels=2&qos=1"
    with open_source(uri) as source:
        broker.publish(np.arange(6, dtype="<f4").tobytes(), b"12345", b"12345678")
        frames = take(source, 2)
    assert frames[0].data.tolist() == [[0, 2, 4], [1, 3, 5]] and source.errors == 1


@real
def test_a_slow_loop_drops_the_oldest_and_counts(broker, caplog):
    uri = f"mqtt://127.0.0.1:{broker.port}/sensors/pump?queue=3&qos=1"
    with open_source(uri) as source:
        broker.publish(*[b"%d" % n for n in range(10)])
        while source.dropped < 7:
            time.sleep(0.01)
        frames = take(source, 3)
    assert [frame.data[0] for frame in frames] == [7, 8, 9] and source.dropped == 7
    assert [frame.seq for frame in frames] == [7, 8, 9] and "messages are dropped" in caplog.text


@real
def test_a_broker_that_dies_and_comes_back(broker, caplog):
    uri = f"mqtt://127.0.0.1:{broker.port}/sensors/pump?qos=1"
    with open_source(uri) as source:
        broker.publish(b"1")
        before = take(source, 1)
        broker.stop()
        broker.start()
        while source.connections < 2:
            time.sleep(0.05)
        broker.publish(b"2")
        after = take(source, 1)
    assert after[0].seq > before[0].seq + 1 and after[0].data.tolist() == [2]
    assert "the broker is lost" in caplog.text and "connected again" in caplog.text


@real
def test_silence_and_closing(broker):
    with (
        open_source(f"mqtt://127.0.0.1:{broker.port}/a?silence_s=0.1") as source,
        pytest.raises(SourceError, match=r"was silent for 0\.1 s"),
    ):
        take(source, 1)
    with open_source(f"mqtt://127.0.0.1:{broker.port}/a") as source:
        broker.publish(b"1", topic="a")
        frames = iter(source)
        next(frames)
        source.close()
        assert list(frames) == []


def test_no_broker_and_no_password_in_the_message():
    with pytest.raises(SourceError, match="cannot be reached") as caught:
        open_source("mqtt://me:hunter2@127.0.0.1:1/a").__enter__()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mqtt://", "needs a broker and a topic"),
        ("mqtt://host", "needs a broker and a topic"),
        ("mqtt://host/a?kind=xml", "kind of mqtt:// is auto, json, csv, float32"),
        ("mqtt://host/a?qos=3", "qos is 0, 1 or 2"),
    ],
)
def test_options(uri, message):
    with pytest.raises(SourceError, match=message):
        open_source(uri)


@pytest.mark.parametrize(
    ("payload", "options", "expected"),
    [
        (b"3.5", {}, [3.5]),
        (b" [1, 2]\n", {}, [1, 2]),
        (b"[[1, 2], [3, 4]]", {}, [[1, 3], [2, 4]]),
        (b'{"t": 5, "imu": {"acc": [1, 2]}}', {"field": "imu.acc"}, [1, 2]),
        (b'{"x": 1, "name": "n", "on": true, "y": 2}', {}, [1, 2]),
        (b"1\t2\r\n3 4\r\n", {}, [[1, 3], [2, 4]]),
    ],
)
def test_payloads(payload, options, expected):
    data = decode(payload, **options)
    assert data.tolist() == expected and data.dtype == np.float32


@given(st.binary(max_size=60) | st.text(max_size=30).map(str.encode), st.sampled_from(KINDS))
def test_any_bytes_are_a_reading_or_a_frame_error(payload, kind):
    try:
        data = decode(payload, kind)
    except FrameError:
        return
    assert data.size and data.dtype == np.float32 and np.isfinite(data).all()
