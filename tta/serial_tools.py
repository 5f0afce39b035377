"""``tta serial list | monitor | hello | bench``: what is on the serial ports."""

from __future__ import annotations

import threading
import time

import numpy as np

from tta.firmware_bridge.bridge import Bridge
from tta.firmware_bridge.link import ports
from tta.firmware_bridge.messages import FLOAT32, Hello, Log, Ping, Status
from tta.firmware_bridge.session import Heard, Samples
from tta.records import Frame
from tta.runtime.redaction import redact
from tta.runtime.sources.serial_ import Serial
from tta.terminal import Terminal

_LEVELS = ("debug", "info", "warning", "error")


def list_ports(terminal: Terminal | None = None) -> None:
    """Print the ports of this machine; a name by id stays when the device is plugged in elsewhere."""
    terminal = terminal or Terminal()
    found = ports()
    if not found:
        terminal.say("no serial port here: is the board plugged in, and its cable one for data?")
        return
    rows = [[port.device, port.by_id or "-", port.about] for port in found]
    terminal.table("Serial ports", ("device", "by id", "what"), rows)


def hello(port: str, baud: int = 115200, terminal: Terminal | None = None) -> Hello:
    """Ask our firmware who it is, print it, and return it.

    Raises:
        SourceError: nobody answers, or nobody of ours.
    """
    terminal = terminal or Terminal()
    with _bridge(port, baud) as bridge:
        for event in bridge.events():
            if isinstance(event, Hello) and bridge.session.greeted:
                break
        else:
            raise AssertionError  # events end by an error, or because this loop did
    schema = event.schema
    kind = "float32" if schema.kind == FLOAT32 else "int16"
    norm = f"epoch {event.norm_epoch}" if event.takes_norm else "off"
    terminal.say(
        f"{event.firmware} {event.version} on {redact(port)}: {kind} at {schema.rate_mhz / 1000:g} Hz, "
        f"schema {schema.hash:04x}, takes frames of {event.largest} bytes, heartbeat every "
        f"{event.heartbeat_ms} ms, norm {norm}, {'a' if event.has_sentinel else 'no'} drift sentinel"
    )
    rows = [
        [c.name, c.unit or "-", f"{c.scale:g}", f"{c.lowest:g}", f"{c.highest:g}"]
        for c in schema.channels
    ]
    terminal.table("Channels", ("name", "unit", "a step", "lowest", "highest"), rows)
    return event


def monitor(
    port: str, baud: int = 115200, seconds: int | None = None, terminal: Terminal | None = None
) -> None:
    """Print what a device says, line by line, whatever it speaks, until Ctrl-C or the time is over."""
    terminal = terminal or Terminal()

    def tell(event: Heard | None) -> None:
        if event is not None and not isinstance(event, Samples):
            terminal.say(_line(event))

    with Serial(port, baud=baud, silence_s=float("inf")) as source:
        source.tell = tell
        if seconds:
            clock = threading.Timer(seconds, source.close)  # ends a silent device as well
            clock.daemon = True
            clock.start()
        frame: Frame | None = None
        for frame in source:
            values = frame.data if frame.data.ndim == 1 else frame.data[:, -1]
            text = " ".join(f"{value:10.4g}" for value in values)
            notes = " ".join(f"{name}={value}" for name, value in frame.meta.items())
            terminal.say(f"{frame.seq:8} {text}  {notes}".rstrip())
        if frame is None:
            terminal.say(f"no sample came from {redact(port)} in {seconds} s")
        if source.errors:
            terminal.say(f"{source.errors} could not be used: {source.last_error}")


def _line(event: Heard) -> str:
    if isinstance(event, Log):
        return f"{_LEVELS[min(event.level, 3)]}: {event.text}"
    if isinstance(event, Status):
        supply = f", {event.supply_mv} mV" if event.supply_mv else ""
        drift = ", DRIFT in channels " + bin(event.moved) if event.drifting else ""
        return (
            f"status: up {event.uptime_s} s, {event.samples} samples, {event.overruns} lost in the device, "
            f"norm epoch {event.norm_epoch}{supply}{drift}"
        )
    return str(event)


def bench(
    port: str, baud: int = 115200, seconds: int | None = None, terminal: Terminal | None = None
) -> dict[str, float]:
    """Measure a connection to our firmware for a while, print and return the figures."""
    terminal = terminal or Terminal()
    asked_s, trips_ms = 0.0, []
    with _bridge(port, baud) as bridge:
        session = bridge.session
        begin_s: float | None = None
        for event in bridge.events():
            now_s = time.monotonic()
            if begin_s is None:
                if not session.greeted:
                    continue
                begin_s, first = now_s, (session.tally.frames, session.tally.samples)
            if isinstance(event, Ping):
                trips_ms.append((now_s - asked_s) * 1e3)
                asked_s = 0.0
            if asked_s == 0.0 or now_s - asked_s > 1.0:
                asked_s = now_s
                session.ping(b"bench", now_s)
            if now_s - begin_s > (seconds or 10):
                break
        assert begin_s is not None
        took_s = time.monotonic() - begin_s
        clock = session.clock
        before = session.tally
    figures = {
        "frames_per_s": (before.frames - first[0]) / took_s,
        "samples_per_s": (before.samples - first[1]) / took_s,
        "lost_frames": float(before.lost_frames),
        "lost_samples": float(before.lost_samples),
        "damaged_frames": float(session.decoder.bad - session.decoder.early),
        "ping_ms_median": float(np.median(trips_ms)) if trips_ms else float("nan"),
        "ping_ms_99": float(np.percentile(trips_ms, 99)) if trips_ms else float("nan"),
        "clock_drift_ppm": clock.drift_ppm,
        "clock_went_back": float(clock.backwards),
    }
    rows = [[name, f"{value:.4g}"] for name, value in figures.items()]
    terminal.table(f"{redact(port)}, {took_s:.1f} s", ("figure", "value"), rows)
    return figures


def _bridge(port: str, baud: int) -> Bridge:
    return Bridge(port, baud=baud, name=redact(port), reconnect=False)
