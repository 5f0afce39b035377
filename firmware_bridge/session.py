"""The host's end of the bridge: what to say, what was lost, what the numbers mean; does no I/O.

``feed`` takes what came and gives events, ``due`` what is to be written. Time is an argument.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from threading import Event
from typing import NamedTuple

import numpy as np

from tta.firmware_bridge import normalization
from tta.firmware_bridge.clock import Clock
from tta.firmware_bridge.messages import CODES, DONE
from tta.firmware_bridge.protocol import (
    Ack,
    Config,
    Data,
    Decoder,
    Grant,
    Greet,
    Hello,
    Log,
    Message,
    Norm,
    NormPart,
    Ping,
    Received,
    Schema,
    Status,
    Time,
    frame,
    gap,
)
from tta.records import Array

GREET_EVERY_S = 0.5
RETRY_S, RETRIES = 0.3, 10
CREDIT_FRAMES, GRANT_AGAIN_S = 32, 1.0
SYNC_S, FIRST_SYNCS = 10.0, 8
AHEAD_S = 60.0  # more than buffers can hold back, less than clocks differ after a restart


class Samples(NamedTuple):
    """A batch of readings in units, whatever the device did to them.

    Attributes:
        values: ``(n, C)`` float32: a norm is inverted by the frame's own epoch.
        first: number of the first sample since the device began.
        t_s: host's monotonic time of the last sample.
        epoch: norm epoch at which the device sent them.
        lost_frames: frames of any kind lost just before, on the way.
        lost_samples: samples lost or useless just before, in all since it began anew if it did.
        restarted: whether the device began anew just before.
    """

    values: Array
    first: int
    t_s: float
    epoch: int
    lost_frames: int
    lost_samples: int
    restarted: bool


@dataclass
class Command:
    """A command under way; ``wait`` for its answer.

    Attributes:
        ack: of the device, None while there is none.
        failure: why there will be none.
        begun: how often it was sent from its first part on.
    """

    messages: list[Config | NormPart]
    norm: Norm | None = None
    ack: Ack | None = None
    failure: str = ""
    begun: int = 0
    over: Event = field(default_factory=Event)

    def wait(self, timeout_s: float = 5.0) -> Ack | None:
        """The device's answer, None if it did not come in time; failure says why."""
        self.over.wait(timeout_s)
        return self.ack

    @property
    def refused(self) -> str:
        """Why the device refused, empty where it did not."""
        code = self.ack.code if self.ack else DONE
        return "" if code == DONE else CODES[code] if code < len(CODES) else f"code {code}"


@dataclass
class Tally:
    """What a session has seen, in all."""

    frames: int = 0
    lost_frames: int = 0
    samples: int = 0
    lost_samples: int = 0
    restarts: int = 0
    unknown_epoch: int = 0  # DATA frames of a norm that this host did not make: unusable
    retries: int = 0
    unasked: int = 0  # answers to nothing


Heard = Samples | Hello | Status | Log | Ping


class Session:
    """One conversation with one device, over any number of connections.

    Args:
        limit: whether to grant credit, so that a host that lags makes the device drop and count.

    Attributes:
        hello: the device's last HELLO, None before.
        status: its last heartbeat.
        tally: counts.
        before: the counts when the device last began anew; the difference is its present life.
        clock: its clock.
        quiet: set to have the device send heartbeats only, and early ones when its sentinel sees drift.
    """

    def __init__(self, *, limit: bool = True) -> None:
        self.decoder = Decoder()
        self.hello: Hello | None = None
        self.status: Status | None = None
        self.tally, self.before = Tally(), Tally()
        self.clock = Clock()
        self.norms: dict[int, Norm] = {0: Norm(0)}
        self.changed_from: Schema | None = None
        self.quiet = False
        self._limit = limit
        self._out: deque[bytes] = deque()
        self._queue: deque[Command] = deque()
        self._seq = self._epoch = 0
        self._begin()

    def _begin(self) -> None:
        self._last_seq: int | None = None
        self._expected: int | None = None
        self._last_us, self._heard_s = 0, 0.0
        self._greeted = False
        self._next_greet_s = self._next_sync_s = self._next_grant_s = -1e9
        self._syncs = 0
        self._asked: dict[int, float] = {}
        self._data_seen = self._granted = 0
        self._current: Command | None = None
        self._current_seq = 0
        self._sent_s, self._tries, self._part = 0.0, 0, 0
        self._lost_before = self._unusable = 0
        self._restarted = False

    @property
    def greeted(self) -> bool:
        """Whether the device has answered since the connection, or since it began anew."""
        return self._greeted

    def connect(self) -> None:
        """A port was opened (again): ask who is there; what was half received is void."""
        self._out.clear()
        self._take_back()
        self._greeted = False
        self._next_greet_s = -1e9
        self.decoder.cut()

    def _take_back(self) -> None:
        """A command under way is to be sent again, from its first part on: the device has forgotten it."""
        if self._current is not None:
            self._queue.appendleft(self._current)
            self._current = None

    # ---------------------------------------------------------------- outwards

    def due(self, now_s: float) -> bytes:
        """What is to be written now."""
        if not self._greeted and now_s >= self._next_greet_s:
            self._next_greet_s = now_s + GREET_EVERY_S
            self._say(Greet(), now_s)
        if self.hello is not None and self._greeted:
            self._sync(now_s)
            self._grant(now_s)
            self._drive(now_s)
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _say(self, message: Message, now_s: float, seq: int | None = None) -> int:
        if seq is None:
            self._seq = seq = (self._seq + 1) & 0xFFFF
        t_us = int(now_s * 1e6) & 0xFFFFFFFF
        self._out.append(frame(message, seq, t_us, self.decoder.schema_hash, host=True))
        return seq

    def _sync(self, now_s: float) -> None:
        if now_s >= self._next_sync_s:
            self._syncs += 1
            self._next_sync_s = now_s + (0.25 if self._syncs < FIRST_SYNCS else SYNC_S)
            token = (int(now_s * 1e6) ^ self._syncs) & 0xFFFFFFFF
            self._asked = dict([*self._asked.items(), (token, now_s)][-8:])
            self._say(Time(token), now_s)

    def _grant(self, now_s: float) -> None:
        # A lost frame may have been DATA: counting it as such can only grant too much, never too little.
        ahead = 0 if self.quiet else CREDIT_FRAMES
        used = not self.quiet and self._data_seen + ahead - self._granted >= CREDIT_FRAMES // 4
        # again after a while, lest the last one was lost
        if self._limit and (used or now_s >= self._next_grant_s):
            self._next_grant_s = now_s + GRANT_AGAIN_S
            self._granted = self._data_seen + ahead
            self._say(Grant(self._granted & 0xFFFF), now_s)

    def _drive(self, now_s: float) -> None:
        command = self._current
        if command is None:
            if not self._queue:
                return
            command = self._current = self._queue.popleft()
            self._current_seq = self._tries = self._part = 0
            command.begun += 1
        elif now_s < self._sent_s + RETRY_S:
            return
        if self._tries >= RETRIES or command.begun > RETRIES:
            self._current = None
            command.failure = f"the device did not answer within {RETRIES * RETRY_S:.0f} s"
            if command.begun > RETRIES:
                command.failure = f"device or connection broke off {RETRIES} times before an answer"
            command.over.set()
            return
        seq = None if self._tries == 0 else self._current_seq
        self.tally.retries += seq is not None
        self._current_seq = self._say(command.messages[self._part], now_s, seq)
        self._sent_s, self._tries = now_s, self._tries + 1

    def configure(self, config: Config) -> Command:
        """Ask for another rate, other channels, window or heartbeat."""
        return self._enqueue(Command([config]))

    def normalize(self, norm: Norm) -> Command:
        """Ask the device to normalize; readings stay what they are, since the host inverts by epoch."""
        largest = self.hello.largest if self.hello else 64
        self.norms[norm.epoch] = norm
        parts = norm.parts(max(1, (largest - 20) // 8))
        return self._enqueue(Command(list(parts), norm))

    def ping(self, data: bytes, now_s: float) -> None:
        """Ask for up to 16 bytes to come back."""
        self._say(Ping(data), now_s)

    def _enqueue(self, command: Command) -> Command:
        self._queue.append(command)
        return command

    def free_epoch(self) -> int:
        """The next of 255 epochs: no frame on its way has it, since they come round after 254 others."""
        self._epoch = self._epoch % 255 + 1
        return self._epoch

    # ---------------------------------------------------------------- inwards

    def feed(self, data: bytes, now_s: float) -> list[Heard]:
        """What the bytes say, in order."""
        events: list[Heard] = []
        before = self.decoder.schema
        for received in self.decoder.feed(data):
            self._count(received, now_s)
            event = self._take(received, now_s, before)
            before = self.decoder.schema
            if event is not None:
                events.append(event)
        return events

    def _count(self, received: Received, now_s: float) -> None:
        lost = gap(self._last_seq, received.seq)
        if self._began_anew(received, lost, now_s):
            # Its numbers begin anew at 0; what was lost at the end of its life before is not known.
            self._restart()
            lost = received.seq
        self._last_seq, self._last_us, self._heard_s = received.seq, received.t_us, now_s
        self.tally.frames += 1
        self.tally.lost_frames += lost
        self._lost_before += lost
        self._data_seen += lost + isinstance(received.message, Data)

    def _began_anew(self, received: Received, lost: int, now_s: float) -> bool:
        if self._last_seq is None:
            return False
        if isinstance(received.message, Hello) and received.message.booted:
            return True
        if lost > 0x8000:  # its numbers went back
            return True
        # Its time went back, or on by more than went by here; a clock that stumbles between two
        # consecutive frames is no restart.
        step_us = (received.t_us - self._last_us + 2**31) % 2**32 - 2**31
        ahead_s = step_us * 1e-6 - (now_s - self._heard_s)
        return lost > 0 and (step_us < 0 or (ahead_s > AHEAD_S and self.clock.exchanges > 0))

    def _restart(self) -> None:
        if self._last_seq is None:
            return
        self.before = replace(self.tally)
        self.tally.restarts += 1
        self._restarted = True
        self._expected = self._unusable = 0
        self._take_back()
        self.clock.restart()
        self._greeted, self._next_greet_s = False, -1e9

    def _take(self, received: Received, now_s: float, before: Schema | None) -> Heard | None:
        message = received.message
        device_us = self.clock.unwrap(received.t_us)
        self.clock.heard(device_us, now_s)
        if isinstance(message, Data):
            return self._samples(message, device_us)
        if isinstance(message, Hello):
            if before is not None and before.hash != message.schema.hash:
                self.changed_from = before
            self.hello = message
            # a boot's HELLO answers no question: credit begins with one
            self._greeted = not message.booted
            self._data_seen = self._granted = 0
            self._next_sync_s = -1e9
            self._syncs = 0
            if message.norm_epoch and message.norm_epoch not in self.norms:
                # of another host: back to raw, and not this one again
                self._epoch = message.norm_epoch
                self.normalize(Norm(0))
            return message
        if isinstance(message, Status):
            self.status = message
            return message
        if isinstance(message, Ack):
            self._acknowledged(message, now_s)
            return None
        if isinstance(message, Time):
            asked_s = self._asked.pop(message.token, None)
            if asked_s is None or message.received_us is None:
                self.tally.unasked += 1
            else:
                worked = (received.t_us - message.received_us) & 0xFFFFFFFF
                self.clock.exchange(asked_s, device_us - worked, device_us, now_s)
            return None
        return message if isinstance(message, Log | Ping) else None

    def _acknowledged(self, ack: Ack, now_s: float) -> None:
        command = self._current
        if command is None or ack.seq != self._current_seq:
            self.tally.unasked += 1
            return
        self._tries = 0
        self._part += 1
        if ack.code == DONE and self._part < len(command.messages):
            self._sent_s = -1e9
            return
        self._current = None
        command.ack = ack
        command.over.set()

    def _samples(self, data: Data, device_us: int) -> Samples | None:
        schema = self.decoder.schema
        if schema is None:
            return None
        n = len(data.samples)
        lost = 0
        if self._expected is not None:
            lost = (data.first - self._expected) & 0xFFFFFFFF
            if lost > 0x80000000:  # sample numbers went back: the device began anew
                self._restart()
                lost = 0
        self._expected = (data.first + n) & 0xFFFFFFFF
        self.tally.samples += n
        self.tally.lost_samples += lost
        norm = self.norms.get(data.norm_epoch)
        if norm is None:
            self.tally.unknown_epoch += 1
            self._unusable += lost + n  # the next samples say that these are missing
            return None
        channels = [k for k in range(len(schema.channels)) if data.mask >> k & 1]
        gain, offset = normalization.affine(norm, schema)
        if norm.epoch == 0:
            gain = gain * data.scale
        values = (data.samples * gain[channels] + offset[channels]).astype(np.float32)
        found = Samples(
            values,
            data.first,
            self.clock.to_host(device_us),
            data.norm_epoch,
            self._lost_before,
            lost + self._unusable,
            self._restarted,
        )
        self._lost_before, self._unusable, self._restarted = 0, 0, False
        return found
