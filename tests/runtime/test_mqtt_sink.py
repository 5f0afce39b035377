"""The MQTT sink against a real broker: summaries, last will, discovery, outages."""

import json
import time

import pytest

from tests.runtime.conftest import frames
from tests.runtime.test_mqtt_source import broker, client, real
from tta.errors import TtaError
from tta.runtime.loop import advance
from tta.runtime.outlet import Outlet
from tta.runtime.sink_uri import open_sink
from tta.runtime.stream import Stream

__all__ = ["broker"]


class Listener:
    """Every message of a broker, by topic."""

    def __init__(self, port):
        self.got, self.flags = {}, {}
        self.client = client.Client(client.CallbackAPIVersion.VERSION2)
        self.client.on_message = self.take
        self.client.on_connect = lambda c, *rest: c.subscribe("#", qos=1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def take(self, who, data, message):
        self.got.setdefault(message.topic, []).append(message.payload.decode())

    def wait(self, topic, count=1):
        for _ in range(250):
            if len(self.got.get(topic, ())) >= count:
                return self.got[topic]
            time.sleep(0.02)
        raise AssertionError(f"{topic} did not come; there were {list(self.got)}")

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def listener(broker):
    made = Listener(broker.port)
    yield made
    made.close()


def connected(sink):
    for _ in range(250):
        if sink._client.is_connected():
            return sink
        time.sleep(0.02)
    raise AssertionError("not connected")


def stream_into(sink, model, images, name="cam"):
    stream = Stream(model, "bn_stats", name)
    sink.attach([stream])
    for frame in frames(images):
        for result in advance(stream, frame):
            sink.write(result)
    return stream


@real
def test_summaries_and_availability(broker, listener, model, drifted):
    sink = connected(open_sink(f"mqtt://127.0.0.1:{broker.port}/tta/yard?every_s=3600"))
    stream = stream_into(sink, model, drifted[:64])
    sink.close()
    assert stream.counts.commits
    told = [json.loads(t) for t in listener.wait("tta/yard/cam/state", 2)]
    assert told[-1]["frames"] == 64 and told[-1]["step"] == stream.current.step
    assert told[-1]["drift"] > 1 and told[-1]["scores"]["statistics_kl"] > 0
    assert any("commit" in (t["decision"] or "") for t in told)  # at once, not after an hour
    assert listener.wait("tta/yard/available", 2)[-2:] == ["online", "offline"]


@real
def test_discovery_is_what_home_assistant_asks_for(broker, listener, model, clean):
    sink = connected(open_sink(f"mqtt://127.0.0.1:{broker.port}/tta/yard"))
    stream_into(sink, model, clean[:2])
    (config,) = listener.wait("homeassistant/sensor/tta_yard/cam_rate_hz/config")
    told = json.loads(config)
    (state,) = listener.wait(told["state_topic"])
    sink.close()
    assert told["unique_id"] == "tta_yard_cam_rate_hz" and told["device"]["identifiers"] == [
        "tta_yard"
    ]
    assert told["availability_topic"] == "tta/yard/available" and told["expire_after"] >= 30
    ids = set()
    for topic, (text, *_) in listener.got.items():
        if topic.startswith("homeassistant/"):
            one = json.loads(text)
            ids.add(one["unique_id"])
            key = one["value_template"].removeprefix("{{ value_json.").removesuffix(" }}")
            assert key in json.loads(state)
            assert one.get("state_class") in (None, "measurement", "total_increasing")
    assert len(ids) == 9
    late = Listener(broker.port)  # discovery is retained
    late.wait("homeassistant/sensor/tta_yard/cam_rate_hz/config")
    late.close()


@real
def test_the_last_will_says_offline(broker, listener, model, clean):
    sink = connected(open_sink(f"mqtt://127.0.0.1:{broker.port}/tta/yard"))
    listener.wait("tta/yard/available")
    sink._client._sock_close()  # the process dies, says nothing
    listener.wait("tta/yard/available", 2)
    assert listener.got["tta/yard/available"][1] == "offline"
    sink.close()


@real
def test_a_broker_that_is_down_costs_no_frame_and_is_found_again(broker, model, clean):
    broker.stop()
    sink = open_sink(f"mqtt://127.0.0.1:{broker.port}/tta/yard?every_s=0.001")
    outlet = Outlet(sink, sink.name)
    stream_into(outlet, model, clean[:20])
    for _ in range(100):
        if outlet.lost:
            break
        time.sleep(0.02)
    assert outlet.lost["cam"] >= 1 and "not connected" in outlet.error
    broker.start()
    listener = Listener(broker.port)
    for _ in range(400):
        if outlet.written:
            break
        stream_into(outlet, model, clean[:1])
        time.sleep(0.05)
    assert outlet.written
    listener.wait("tta/yard/cam/state")
    listener.close()
    outlet.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mqtt:", "needs a broker"),
        ("mqtt://me:secret@10.0.0.2:port/x", r"mqtt://\*\*\*@10.0.0.2:port/x is no address"),
        ("mqtt://10.0.0.2/a/+/b", "has no \\+ and no #"),
        ("mqtt://10.0.0.2/a?every_s=0", "every_s is above 0"),
        ("mqtt://10.0.0.2/a?qos=3", "qos is 0, 1 or 2"),
        ("mqtt://10.0.0.2/a?ca=/nowhere.pem", "holds no certificate"),
    ],
)
def test_addresses_that_cannot_be(text, message):
    with pytest.raises(TtaError, match=message):
        open_sink(text)
