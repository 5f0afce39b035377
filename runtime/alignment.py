"""Several devices as one source, on one clock: ``tta.runtime.alignment:Aligned:///dev/ttyACM0,/dev/ttyACM1``."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType

import numpy as np

from tta.errors import SourceError
from tta.firmware_bridge.bridge import Bridge
from tta.firmware_bridge.session import Samples
from tta.records import Array, Frame
from tta.runtime.redaction import redact

KEPT_S = 60.0  # longer than anything holds readings back; nobody silent longer is waited for


class Aligner:
    """Puts series of several devices on one grid of the host's time, by linear interpolation.

    A grid point is given once every device has a reading after it. Where a device's readings are more than
    ``hole_s`` apart, no point is made between, and the next one says that it comes after a hole. Of each
    device the last 60 s are kept, however long another is silent.

    Args:
        devices: how many.
        period_s: of the grid.
        hole_s: longest distance of two readings that is interpolated.

    >>> aligner = Aligner(2, 0.1)
    >>> aligner.add(0, np.array([0.0, 0.1, 0.2]), np.array([[0.0], [1.0], [2.0]]))
    >>> aligner.add(1, np.array([0.05, 0.25]), np.array([[10.0], [30.0]]))
    >>> times, values, holes = aligner.take()
    >>> times.round(6).tolist(), values.round(6).tolist(), holes.tolist()
    ([0.05, 0.15], [[0.5, 10.0], [1.5, 20.0]], [False, False])
    """

    def __init__(self, devices: int, period_s: float, hole_s: float = 0.5) -> None:
        self._series: list[tuple[Array, Array] | None] = [None] * devices
        self._period_s, self._hole_s = period_s, hole_s
        self._next_s: float | None = None
        self._hole = False

    def add(self, device: int, times_s: Array, values: Array) -> None:
        """Readings ``(n, C)`` of a device at times ``(n,)``; those not after its last are left out."""
        old = self._series[device]
        if old is not None:
            later = times_s > old[0][-1]
            times_s = np.append(old[0], times_s[later])
            values = np.append(old[1], values[later], 0)
        if len(times_s):
            first = int(np.searchsorted(times_s, times_s[-1] - KEPT_S))
            self._series[device] = times_s[first:], values[first:]

    def take(self) -> tuple[Array, Array, Array]:
        """Times ``(n,)``, values ``(n, sum of C)``, whether each comes after a hole: what is complete."""
        known = [s for s in self._series if s is not None]
        if len(known) < len(self._series):
            return np.zeros(0), np.zeros((0, 0)), np.zeros(0, bool)
        begin_s = max(float(t[0]) for t, _ in known)
        if self._next_s is None:
            self._next_s = begin_s
        elif begin_s > self._next_s:  # readings before it were not kept
            behind = (begin_s - self._next_s) / self._period_s
            self._next_s += self._period_s * float(np.ceil(behind - 1e-9))
            self._hole = True
        end_s = min(float(t[-1]) for t, _ in known)
        count = max(0, int(np.floor((end_s - self._next_s) / self._period_s + 1e-9)) + 1)
        grid = self._next_s + self._period_s * np.arange(count)
        whole = np.ones(count, bool)
        columns = []
        for k, (times, values) in enumerate(known):
            right = np.clip(np.searchsorted(times, grid), 1, max(1, len(times) - 1))
            if len(times) > 1:
                whole &= (times[right] - times[right - 1] <= self._hole_s) | (
                    grid == times[right - 1]
                )
            columns += [np.interp(grid, times, column) for column in values.T]
            if count:
                keep = max(0, int(np.searchsorted(times, grid[-1])) - 1)
                self._series[k] = times[keep:], values[keep:]
        if count:
            self._next_s = float(grid[-1]) + self._period_s
        holes = np.zeros(count, bool)
        if count:
            before = np.append(self._hole, ~whole[:-1])
            holes = whole & before
            self._hole = bool(not whole[-1])
        return grid[whole], np.stack(columns, 1)[whole], holes[whole]


class Aligned:
    """A live source whose frames ``(sum of C,)`` hold the channels of all devices in turn.

    Args:
        ports: devices or pyserial URLs with our firmware, cut by commas.
        baud: bits per second of each.
        rate_hz: of the frames; by default that of the slowest device.
        hole_s: longest silence of a device that is interpolated; a longer one leaves a gap in seq.
        hello_s: longest wait for a HELLO.

    Attributes:
        bridges: the conversations.
    """

    live = True

    def __init__(
        self,
        ports: str,
        *,
        baud: int = 115200,
        rate_hz: float | None = None,
        hole_s: float = 0.5,
        hello_s: float = 3.0,
    ) -> None:
        names = [name for name in ports.split(",") if name]
        if len(names) < 2 or len(set(names)) < len(names):
            raise SourceError("several devices are two different ports or more, cut by commas")
        self._name = ",".join(map(redact, names))
        self._rate_hz, self._hole_s = rate_hz, hole_s
        self.bridges = [
            Bridge(name, baud=baud, name=redact(name), hello_s=hello_s) for name in names
        ]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Aligned:
        self._said: queue.Queue[tuple[int, Samples | Exception]] = queue.Queue(1000)
        try:
            for bridge in self.bridges:
                bridge.__enter__()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._threads = [
            threading.Thread(target=self._listen, args=(k,), daemon=True)
            for k in range(len(self.bridges))
        ]
        for thread in self._threads:
            thread.start()
        return self

    def _listen(self, k: int) -> None:
        try:
            for event in self.bridges[k].events():
                if isinstance(event, Samples):
                    self._said.put((k, event))
        except SourceError as error:
            self._said.put((k, error))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for bridge in self.bridges:
            bridge.close()
        for thread in self._threads:
            while thread.is_alive():  # it may wait for room
                try:
                    self._said.get_nowait()
                except queue.Empty:
                    thread.join(0.01)
        self._threads = []

    def __iter__(self) -> Iterator[Frame]:
        if not self._threads:
            raise SourceError(f"{self._name} is not open: use it in a with statement")
        aligner: Aligner | None = None
        seq = -1
        while self._threads:
            try:
                k, said = self._said.get(timeout=0.25)
            except queue.Empty:
                continue
            if isinstance(said, Exception):
                raise said
            rates = [b.session.hello.schema.rate_mhz / 1e3 for b in self.bridges if b.session.hello]
            if len(rates) < len(self.bridges) or not self._synchronized():
                continue
            if aligner is None:
                period_s = 1 / (self._rate_hz or min(rates))
                aligner = Aligner(len(self.bridges), period_s, self._hole_s)
            n = len(said.values)
            aligner.add(k, said.t_s - np.arange(n)[::-1] / rates[k], said.values)
            for t_s, row, hole in zip(*aligner.take()):
                seq += 2 if hole else 1
                yield Frame(row.astype(np.float32), float(t_s), seq, f"aligned://{self._name}")

    def _synchronized(self) -> bool:
        return all(b.session.clock.exchanges >= 3 for b in self.bridges)
