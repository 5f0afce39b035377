"""Publishes to a broker, as Home Assistant finds it: ``mqtt://user:password@10.0.0.2:1883/tta/yard?every_s=10``."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tta.errors import TtaError
from tta.records import Result
from tta.runtime.answer import answered
from tta.runtime.extra import load_extra
from tta.runtime.recent_results import RecentResults, worth
from tta.runtime.redaction import redact

if TYPE_CHECKING:
    from tta.runtime.stream import Stream

PASSWORD = "TTA_MQTT_PASSWORD"  # environment variable, for a password that no command line shows
SENSORS = {  # id: (name, unit, device class, state class)
    "rate_hz": ("Frame rate", "Hz", "frequency", "measurement"),
    "latency_ms": ("Latency", "ms", "duration", "measurement"),
    "predicted": ("Prediction", None, None, None),
    "confidence": ("Confidence", None, None, "measurement"),
    "level": ("Drift level", None, None, None),
    "drift": ("Drift, share of threshold", None, None, "measurement"),
    "step": ("Adaptation step", None, None, "measurement"),
    "decision": ("Last decision", None, None, None),
    "dropped": ("Dropped frames", None, None, "total_increasing"),
}


class Mqtt:
    """A summary of each stream every few seconds, and at once where the state changed or a shift was judged.

    ::

        TOPIC/available       online or offline (last will), retained
        TOPIC/STREAM/state    JSON: rate_hz, latency_ms, frames, dropped, skipped, predicted, confidence,
                              entropy, level, drift, scores, state, step, decision
        homeassistant/sensor/NODE/STREAM_ID/config   discovery, retained (Home Assistant's MQTT sensors)

    A broker that is down is connected again by the client; results that come meanwhile are lost and counted.

    Args:
        address: ``//user:password@host:port/topic``; port 1883, or 8883 with TLS; by default the topic is
            ``tta/HOST NAME``. The variable ``TTA_MQTT_PASSWORD`` may hold the password instead.
        every_s: seconds between two summaries of a stream.
        discovery: first part of discovery topics, empty for none.
        tls: encrypt, and check the broker's certificate.
        ca: file of the authority that signed it, by default the system's.
        qos: 0, 1 or 2.

    Raises:
        TtaError: an address or a number that makes no sense.
        MissingExtraError: paho-mqtt is not installed.
    """

    def __init__(
        self,
        address: str,
        *,
        every_s: float = 10.0,
        discovery: str = "homeassistant",
        tls: bool = False,
        ca: str = "",
        qos: int = 1,
    ) -> None:
        try:
            parsed = urlsplit(address)
            port = parsed.port
        except ValueError as error:
            raise TtaError(f"{redact(f'mqtt:{address}')} is no address: {error}") from None
        if not parsed.hostname:
            raise TtaError("mqtt needs a broker, as in mqtt://10.0.0.2/tta/yard")
        topic = unquote(parsed.path.strip("/")) or f"tta/{_word(os.uname().nodename)}"
        if set(topic) & set("+#"):
            raise TtaError(f"a topic that is published to has no + and no #, but {topic!r} has")
        if not every_s > 0 or qos not in (0, 1, 2):
            raise TtaError("options of mqtt: every_s is above 0, qos is 0, 1 or 2")
        self._topic, self._every_s, self._qos, self._discovery = topic, every_s, qos, discovery
        self._node = _word(topic)
        self.name = redact(f"mqtt:{address}")
        self._recent: dict[str, RecentResults] = {}
        self._due_s: dict[str, float] = {}
        self._streams: dict[str, Stream] = {}
        self._refused = ""
        self._client = self._make(parsed.username, parsed.password, tls or bool(ca), ca)
        where = parsed.hostname, port or (8883 if tls or ca else 1883)
        self._client.connect_async(*where, keepalive=15)
        self._client.loop_start()

    def _make(self, user: str | None, password: str | None, tls: bool, ca: str) -> Any:
        mqtt = load_extra("mqtt", "mqtt://", "paho.mqtt.client")
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        word = unquote(password) if password else os.environ.get(PASSWORD)
        if user or word:
            client.username_pw_set(unquote(user or ""), word)
        if tls:
            try:
                client.tls_set(ca or None)
            except (OSError, ValueError) as error:
                raise TtaError(f"the file {ca} holds no certificate: {error}") from None
        client.will_set(f"{self._topic}/available", "offline", self._qos, retain=True)
        client.on_connect, client.on_connect_fail = self._connected, self._failed
        client.reconnect_delay_set(1, 30)
        return client

    def attach(self, streams: Sequence[Stream]) -> None:
        """The streams that the results are of: their thresholds make shares of scores."""
        self._streams = {stream.name: stream for stream in streams}

    def write(self, result: Result) -> None:
        """Count a result, and publish where it is time.

        Raises:
            TtaError: the broker is not there.
        """
        now = time.monotonic()
        name = result.stream
        if name not in self._recent:
            self._recent[name], self._due_s[name] = RecentResults(), now
            self._announce(name)
        recent = self._recent[name]
        recent.take(result, now)
        report = result.report
        urgent = report.shift is not None
        urgent |= report.decision is not None and worth(report.decision)
        if now < self._due_s[name] and not urgent:
            return
        if not self._client.is_connected():
            raise TtaError(f"the broker is not connected{self._refused and ': '}{self._refused}")
        self._due_s[name] = now + self._every_s
        self._publish(f"{self._topic}/{_word(name or 'stream')}/state", self._summary(recent, now))

    def close(self) -> None:
        """Say goodbye and leave; a second time does nothing."""
        if self._client.is_connected():
            now = time.monotonic()
            for name, recent in self._recent.items():
                self._publish(
                    f"{self._topic}/{_word(name or 'stream')}/state", self._summary(recent, now)
                )
            self._recent = {}
            told = self._client.publish(f"{self._topic}/available", "offline", self._qos, True)
            with contextlib.suppress(RuntimeError, ValueError):  # it went away in this moment
                told.wait_for_publish(2.0)
        self._client.disconnect()
        self._client.loop_stop()

    def _summary(self, recent: RecentResults, now_s: float) -> dict[str, Any]:
        last = recent.last
        assert last is not None
        found, report = last.prediction, last.report
        middle, _ = recent.latency()
        stream = self._streams.get(last.stream)
        shares = [
            report.scores[k] / v
            for k, v in (stream.monitor.thresholds if stream else {}).items()
            if math.isfinite(report.scores.get(k, math.nan))
        ]
        return {
            "rate_hz": round(recent.rate_hz(now_s), 2),
            "latency_ms": _rounded(middle),
            "frames": recent.frames,
            "dropped": recent.lost,
            "skipped": recent.skipped,
            "predicted": answered(found) if found is not None else None,
            "confidence": _rounded(found.confidence) if found is not None else None,
            "entropy": _rounded(found.entropy) if found is not None else None,
            "level": report.level,
            "drift": _rounded(max(shares, default=math.nan)),
            "scores": {k: _rounded(v) for k, v in report.scores.items()},
            "state": found.state if found is not None else None,
            "step": stream.current.step if stream else None,
            "decision": recent.told[-1] if recent.told else None,
        }

    def _announce(self, name: str) -> None:
        """Tell Home Assistant of a stream's sensors; the client keeps it until it is connected."""
        if not self._discovery:
            return
        word = _word(name or "stream")
        for key, (title, unit, kind, state_class) in SENSORS.items():
            config = {
                "name": f"{name} {title}".strip(),
                "unique_id": f"{self._node}_{word}_{key}",
                "state_topic": f"{self._topic}/{word}/state",
                "value_template": f"{{{{ value_json.{key} }}}}",
                "availability_topic": f"{self._topic}/available",
                "expire_after": max(30, math.ceil(3 * self._every_s)),
                "unit_of_measurement": unit,
                "device_class": kind,
                "state_class": state_class,
                "device": {
                    "identifiers": [self._node],
                    "name": self._topic,
                    "manufacturer": "tta",
                    "model": "test-time adaptation",
                    "sw_version": version("tta-edge"),
                },
            }
            topic = f"{self._discovery}/sensor/{self._node}/{word}_{key}/config"
            told = {k: v for k, v in config.items() if v is not None}
            self._client.publish(topic, json.dumps(told), self._qos, retain=True)

    def _publish(self, topic: str, told: dict[str, Any]) -> None:
        self._client.publish(topic, json.dumps(told, allow_nan=False), self._qos)

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refused = f"it refuses: {reason}"
            return
        self._refused = ""
        client.publish(f"{self._topic}/available", "online", self._qos, retain=True)

    def _failed(self, client: Any, data: Any) -> None:
        self._refused = "nobody answers there, or its certificate is not trusted"


def _rounded(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _word(text: str) -> str:
    """The text as one level of a topic, of letters that discovery allows."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_") or "tta"
