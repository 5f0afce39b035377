"""Tells systemd how the process is: sd_notify's datagrams, see its manual page.

``READY=1`` once sources and sessions are open: a service that waits for a camera that is away runs, and need
not be started again. ``WATCHDOG=1`` and ``STATUS=`` come from the frame loop, four times in the time that
systemd allows.
"""

from __future__ import annotations

import math
import os
import socket
import sys
import time
from collections.abc import Mapping

STATUS_S = 10.0  # between two status lines where there is no watchdog


class Notifier:
    """One service's end of ``NOTIFY_SOCKET``; silent where there is none.

    Args:
        environment: of the process.

    Attributes:
        every_s: seconds between two pings, infinite where nobody listens.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._path = environment.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        self.every_s, self._next_s, self._trouble = math.inf, -math.inf, ""
        if not self._path:
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)  # the loop does not wait for systemd
        self.every_s = STATUS_S
        allowed_us = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if ours and allowed_us.isdecimal() and int(allowed_us):
            self.every_s = min(int(allowed_us) / 4e6, STATUS_S)

    @property
    def due(self) -> bool:
        """Whether it is time for a ping."""
        return self._socket is not None and time.monotonic() >= self._next_s

    def ping(self, status: str) -> None:
        """The loop is alive, and this is how it is."""
        self._next_s = time.monotonic() + self.every_s
        self.tell("WATCHDOG=1", f"STATUS={status}")

    def tell(self, *lines: str) -> None:
        """Send lines, each ``NAME=value``; what cannot be sent is said once, and never stops a run."""
        if self._socket is None:
            return
        path = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        try:
            self._socket.sendto("\n".join(lines).encode(), path)
        except OSError as error:
            if not self._trouble:
                self._trouble = f"systemd does not hear from this run: {error}"
                sys.stderr.write(f"warning: {self._trouble}\n")

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
