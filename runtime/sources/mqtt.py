"""Messages of a broker: ``mqtt://user:password@10.0.0.2:1883/sensors/pump?kind=json&field=acc&channels=3``."""

from __future__ import annotations

import contextlib
import math
import queue
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from tta.errors import FrameError, SourceError
from tta.records import Frame
from tta.runtime.extra import load_extra
from tta.runtime.payload import KINDS, decode
from tta.runtime.pulse import POLL_S, beat
from tta.runtime.redaction import redact
from tta.runtime.source_log import SourceLog


class Mqtt:
    """One frame ``(C,)`` or ``(C, t)`` float32 a message, stamped when it came; ``meta`` has its ``topic``.

    Samples are not pictures: up to ``queue`` messages wait, then the oldest is dropped and counted. A payload
    that is not what was promised is left out, counted and told. Both leave a gap in the sequence numbers, so
    no window is built over them. A lost broker is connected again by the client, and that is told, too.

    Args:
        rest: host, port (1883) and topic, ``+`` and ``#`` allowed (the latter as ``%23``).
        kind: ``auto``, ``json``, ``csv`` or ``float32``, see ``tta.runtime.payload``.
        field: of a JSON object, the key with the numbers.
        channels: numbers of a reading; by default those of the first good message.
        queue: messages that may wait.
        qos: 0, 1 or 2.
        silence_s: give up after so long without a message; by default wait.
        connect_s: longest time to connect first.

    Attributes:
        errors: payloads so far that were no readings.
        dropped: messages dropped, since the loop was busy.
        connections: to the broker so far.
        log: where its messages go; ``log.tell`` is called with each.
    """

    live = True

    def __init__(
        self,
        rest: str,
        *,
        kind: str = "auto",
        field: str = "",
        channels: int | None = None,
        queue: int = 1000,
        qos: int = 0,
        silence_s: float | None = None,
        connect_s: float = 10.0,
    ) -> None:
        parsed = urlsplit("mqtt://" + rest)
        self._topic = unquote(parsed.path.lstrip("/"))
        if not parsed.hostname or not self._topic:
            raise SourceError(
                "mqtt:// needs a broker and a topic, as in mqtt://10.0.0.2/sensors/pump"
            )
        if kind not in KINDS:
            raise SourceError(f"option kind of mqtt:// is {', '.join(KINDS)}, but is {kind!r}")
        if queue < 1 or qos not in (0, 1, 2) or connect_s <= 0 or (channels or 1) < 1:
            raise SourceError(
                "options of mqtt://: queue and channels are at least 1, qos is 0, 1 or 2, connect_s positive"
            )
        self._host, self._port = parsed.hostname, parsed.port or 1883
        self._user = unquote(parsed.username or ""), unquote(parsed.password or "")
        self._name = redact(f"mqtt://{rest}")
        self._kind, self._field, self._channels = kind, field, channels
        self._most, self._qos = queue, qos
        self._silence_s, self._connect_s = silence_s, connect_s
        self._client: Any = None
        self.log = SourceLog(self._name)
        self.errors = self.dropped = self.connections = 0

    @property
    def last_error(self) -> str:
        """What was wrong last."""
        return self.log.last

    def tally(self) -> Mapping[str, int]:
        """The counts by name."""
        return {"bad": self.errors, "dropped": self.dropped, "connections": self.connections}

    def __enter__(self) -> Mqtt:
        mqtt = load_extra("mqtt", "mqtt://", "paho.mqtt.client")
        self._queue: queue.Queue[tuple[int, float, str, bytes] | None] = queue.Queue()
        self._seq, self._refused = 0, ""
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        if self._user[0]:
            client.username_pw_set(*self._user)
        client.on_connect, client.on_disconnect = self._connected, self._lost
        client.on_subscribe, client.on_message = self._subscribed, self._message
        client.reconnect_delay_set(1, 30)
        before = self.connections
        try:
            client.connect(self._host, self._port, keepalive=15)
        except OSError as error:
            raise SourceError(f"the broker of {self._name} cannot be reached: {error}") from None
        client.loop_start()
        self._client = client
        until = time.monotonic() + self._connect_s
        while self.connections == before:
            if self._refused or time.monotonic() > until:
                self._close()
                why = self._refused or f"no answer in {self._connect_s:g} s"
                raise SourceError(f"the broker of {self._name} refuses: {why}")
            time.sleep(0.01)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def close(self) -> None:
        """End the frames, from any thread."""
        self._close()

    def __iter__(self) -> Iterator[Frame]:
        if self._client is None:
            raise SourceError(f"{self._name} is not open: use it in a with statement")
        while True:
            message = self._waited()
            if message is None:
                return
            seq, now_s, topic, payload = message
            try:
                data = decode(payload, self._kind, self._field, self._channels)
            except FrameError as error:
                self.errors += 1
                self.log.say(str(error), "bad")
                continue
            self._channels = self._channels or data.shape[0]
            yield Frame(data, now_s, seq, self._name, {"topic": topic})

    def _waited(self) -> tuple[int, float, str, bytes] | None:
        """The next message, None where there is none to come."""
        began_s = time.monotonic()
        longest = math.inf if self._silence_s is None else self._silence_s
        while (left := began_s + longest - time.monotonic()) > 0:
            beat()
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=min(POLL_S, left))
        raise SourceError(f"{self._name} was silent for {self._silence_s:g} s")

    def _connected(self, client: Any, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refused = str(reason)
            return
        client.subscribe(self._topic, self._qos)

    def _subscribed(self, client: Any, _: Any, mid: int, reasons: Any, properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._refused = f"topic {self._topic!r}: {reasons[0]}"
            self.log.say(f"the broker refuses {self._refused}")
            return
        self.connections += 1
        if self.connections > 1:
            self.log.say("connected again")

    def _lost(self, client: Any, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._client is not None:
            self._seq += 1  # what was sent meanwhile is lost
            self.log.say(f"the broker is lost ({reason})")

    def _message(self, client: Any, _: Any, message: Any) -> None:
        self._queue.put((self._seq, time.monotonic(), message.topic, message.payload))
        self._seq += 1
        while self._queue.qsize() > self._most:
            with contextlib.suppress(queue.Empty):  # the loop was quicker
                self._queue.get_nowait()
                self.dropped += 1
                self.log.say("the loop is too slow: messages are dropped", "dropped")

    def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()
            self._queue.put(None)
