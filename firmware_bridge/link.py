"""A serial port by URL; the only file that imports pyserial."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import Any, NamedTuple

from tta.errors import MissingExtraError, SourceError

_CHUNK = 65536


class Link:
    """A port that reads and writes bytes, and whose every failure is a SourceError naming it.

    Opening a port resets many Arduinos: the DTR line falls at close and rises at open. Linux raises
    it whatever the program asks, so what can be done is to keep it from falling (no hang-up on
    close): only the first opening after plugging in resets the board. DTR stays high by default,
    since boards with native USB send only while it is.

    Args:
        url: a device, or any pyserial URL: ``loop://``, ``socket://host:port``, ``hwgrep://VID:PID``.
        baud: bits per second.
        timeout_s: longest time that a read waits for the first byte, and so the longest that
            closing from another thread takes.
        dtr: level of the DTR line after opening.
        name: what messages call it, where the URL holds a password.
    """

    def __init__(
        self,
        url: str,
        *,
        baud: int = 115200,
        timeout_s: float = 0.25,
        dtr: bool = True,
        name: str = "",
    ) -> None:
        self.name = name or url
        self._url, self._baud, self._timeout_s, self._dtr = url, baud, timeout_s, dtr
        self._port: Any = None

    @property
    def closed(self) -> bool:
        """Whether there is no open port."""
        return self._port is None

    def __enter__(self) -> Link:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Open the port, alone if it is a device: two readers would steal each other's bytes."""
        try:
            import serial
        except ImportError as error:
            raise MissingExtraError("serial", "serial://", "serial") from error
        self.close()
        try:
            port = serial.serial_for_url(
                self._url,
                do_not_open=True,
                baudrate=self._baud,
                timeout=self._timeout_s,
                write_timeout=1.0,
            )
            if isinstance(port, serial.Serial):  # and no loop or socket; hwgrep:// finds one, too
                port.exclusive = True
            port.dtr = self._dtr
            port.open()
        except (OSError, ValueError, OverflowError) as error:
            raise self._broken(self._cure(error), error) from self._cause(error)
        _keep_dtr_at_close(port)
        self._port = port

    def read(self) -> bytes:
        """What has arrived, after at most ``timeout_s``; empty when nothing has."""
        port = self._port
        if port is None:
            return b""
        try:
            return bytes(port.read(min(max(1, port.in_waiting), _CHUNK)))
        except (
            OSError,
            TypeError,
        ) as error:  # TypeError: pyserial, once another thread has closed it
            if self._port is None:
                return b""
            raise self._broken("vanished: is it still plugged in?", error) from self._cause(error)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._port is None:
            raise SourceError(f"serial port {self.name} is not open")
        try:
            self._port.write(data)
        except (OSError, TypeError) as error:
            raise self._broken("does not take data", error) from self._cause(error)

    def close(self) -> None:
        """Close the port; a read in another thread returns."""
        port, self._port = self._port, None
        if port is None:
            return
        with contextlib.suppress(OSError, AttributeError):  # not every kind of port has cancel_read
            port.cancel_read()
        with contextlib.suppress(OSError):
            port.close()

    def _broken(self, what: str, error: Exception) -> SourceError:
        detail = str(error).replace(self._url, self.name)
        return SourceError(f"serial port {self.name} {what} ({detail})")

    def _cause(self, error: Exception) -> Exception | None:
        return error if self.name == self._url else None  # a traceback would show the password

    def _cure(self, error: Exception) -> str:
        number = getattr(error, "errno", None)
        if number in (errno.EACCES, errno.EPERM):
            return (
                "may not be opened: add yourself to the group dialout "
                "(sudo usermod -aG dialout $USER) and log in again"
            )
        if number in (errno.EBUSY, errno.EAGAIN):
            return "is in use by another program: close its monitor window"
        if number == errno.ENOENT:
            from serial.tools.list_ports import comports

            present = ", ".join(sorted(port.device for port in comports())) or "none"
            return f"does not exist; ports present: {present}"
        return "cannot be opened"


def _keep_dtr_at_close(port: Any) -> None:
    # Clearing HUPCL needs a POSIX terminal; sockets, loops and Windows have none.
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):
        import termios

        with contextlib.suppress(termios.error):
            settings = termios.tcgetattr(port.fileno())
            settings[2] &= ~termios.HUPCL
            termios.tcsetattr(port.fileno(), termios.TCSANOW, settings)


class Port(NamedTuple):
    """A port of this machine: its device, a name that survives replugging, and what is known of it."""

    device: str
    by_id: str
    about: str


def ports() -> list[Port]:
    """The serial ports of this machine.

    Raises:
        MissingExtraError: pyserial is not installed.
    """
    try:
        from serial.tools.list_ports import comports
    except ImportError as error:
        raise MissingExtraError("serial", "tta serial", "serial") from error
    stable = {}
    folder = Path("/dev/serial/by-id")
    for link in sorted(folder.iterdir()) if folder.is_dir() else []:
        stable[str(link.resolve())] = str(link)
    return [
        Port(p.device, stable.get(p.device, ""), p.description or "")
        for p in sorted(comports(), key=lambda p: str(p.device))
    ]
