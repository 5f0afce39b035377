"""A device on a port: keeps the connection, and hands on what the device says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event
from types import TracebackType

from tta.errors import SourceError
from tta.firmware_bridge.link import Link
from tta.firmware_bridge.messages import Config, Norm
from tta.firmware_bridge.session import Command, Heard, Session

BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
READ_S = 0.05


class Bridge:
    """Reads, answers, reconnects.

    A connection that breaks is opened again, after 0.5 to 10 s, however often it takes; the device is asked
    for its HELLO, and the loss is reported with the next samples. A device that never says HELLO, one with
    another schema than before, a wrong baud rate and our own echo are each a SourceError.

    Args:
        url: see ``Link``.
        baud: bits per second.
        dtr: level of the DTR line.
        name: what messages call the port.
        reconnect: whether to open a broken connection again.
        hello_s: longest wait for a HELLO, of a device that sends something or nothing.
        limit: whether to grant credit.
        back_off_s: waits before each new try; the last goes on.
        read_s: longest wait for a byte before what is due is written.

    Attributes:
        session: the conversation, with all counts.
        link: the port.
        reconnects: how often the port was opened again.
        trouble: why it could not be opened again at the last try, empty where it is open.
    """

    def __init__(
        self,
        url: str,
        *,
        baud: int = 115200,
        dtr: bool = True,
        name: str = "",
        reconnect: bool = True,
        hello_s: float = 3.0,
        limit: bool = True,
        back_off_s: tuple[float, ...] = BACK_OFF_S,
        read_s: float = READ_S,
    ) -> None:
        self.link = Link(url, baud=baud, timeout_s=read_s, dtr=dtr, name=name)
        self.session = Session(limit=limit)
        self.reconnects = 0
        self.trouble = ""
        self._baud, self._reconnect, self._hello_s = baud, reconnect, hello_s
        self._back_off_s = back_off_s
        self._stop = Event()

    def __enter__(self) -> Bridge:
        self._stop.clear()
        self.link.open()
        self.session.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the events, from any thread."""
        self._stop.set()
        self.link.close()

    def configure(self, **changes: int) -> Command:
        """Ask for another ``rate_mhz``, ``mask``, ``window`` or ``heartbeat_ms``."""
        return self.session.configure(Config(**changes))

    def normalize(self, norm: Norm) -> Command:
        """Push a normalization down; events go on in units, whoever applies it."""
        return self.session.normalize(norm)

    def events(self, received: bytes = b"") -> Iterator[Heard | None]:
        """What the device says, in order, and None whenever there was nothing for a moment.

        Args:
            received: bytes that were read already.

        Raises:
            SourceError: see the class.
        """
        self._begin()
        while not self._stop.is_set():
            try:
                self.link.write(self.session.due(time.monotonic()))
                data, received = received or self.link.read(), b""
            except SourceError:
                if self._stop.is_set():
                    return
                if not self._reconnect:
                    raise
                yield from self.again()
                if self.link.closed:
                    return
                self._begin()
                continue
            now_s = time.monotonic()
            found = self.session.feed(data, now_s)
            self._check(now_s - self._opened_s)
            yield from found
            if not found:
                yield None

    def again(self) -> Iterator[None]:
        """Open the port again, however often it takes: None after each wait. ``close`` ends it."""
        self.link.close()
        waits = [*self._back_off_s]
        while not self._stop.wait(waits.pop(0) if len(waits) > 1 else waits[0]):
            yield None
            try:
                self.link.open()
            except SourceError as error:
                self.trouble = str(error)
                continue
            if self._stop.is_set():  # closed while it was opened
                self.link.close()
                return
            self.reconnects += 1
            self.trouble = ""
            self.session.connect()
            return

    def _begin(self) -> None:
        """A connection begins: what is held against a device without a HELLO counts from here."""
        decoder = self.session.decoder
        self._opened_s, self._greeted = time.monotonic(), False
        self._bad, self._echoes = decoder.bad, decoder.echoes

    def _check(self, waited_s: float) -> None:
        """Refuse what is no device of ours, or another than before."""
        session, name = self.session, self.link.name
        if session.changed_from is not None:
            old = ", ".join(c.name for c in session.changed_from.channels)
            new = ", ".join(c.name for c in session.hello.schema.channels) if session.hello else ""
            raise SourceError(
                f"the device on {name} came back with other channels ({new}; before: {old}): "
                "start again to read it as it is now"
            )
        if session.greeted:
            self._greeted = True
        if self._greeted or waited_s < self._hello_s:
            return
        decoder = session.decoder
        if decoder.echoes > self._echoes:
            raise SourceError(
                f"{name} gives back what is sent to it: TX and RX are joined, or nobody is there"
            )
        if bad := decoder.bad - self._bad:
            raise SourceError(
                f"{name} sent {bad} frames in {waited_s:.1f} s, but no HELLO that is intact: check "
                f"baud={self._baud}, and that the firmware speaks version 1 of the protocol"
            )
        raise SourceError(
            f"{name} sent no HELLO within {self._hello_s:g} s: is the firmware running, and is it "
            "one of ours (codec=csv reads lines of numbers)?"
        )
