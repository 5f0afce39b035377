"""What sinks cost the frame loop, well and broken: ``python -m tests.bench.sink_chaos``.

The demo's model answers pictures from memory, under ``--rate`` frames a second (0: as fast as it can), into
no sink and into each of these in turn, in many short rounds, so that both see the same machine. Printed is
the median over rounds of (frame rate with the sink)/(frame rate without), its quartiles, and what was lost:

==============  =====================================================================================
``jsonl``       a file on a disk that takes it
``csv``         likewise
``full disk``   ``/dev/full``: every write fails
``stuck``       a sink whose every write takes a second
``broker``      an MQTT broker that is not there
``scraper``     metrics, asked for without end by a client that reads a byte at a time
==============  =====================================================================================
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np

from tta.bundle import Bundle
from tta.protocols import Sink
from tta.records import Array, Frame, Result
from tta.runtime.loop import advance
from tta.runtime.outlet import Outlet, outlet
from tta.runtime.sink_uri import open_sink
from tta.runtime.stream import Model, Stream


class Stuck:
    """Takes a second for each result."""

    def write(self, result: Result) -> None:
        """Sleep."""
        time.sleep(1.0)

    def close(self) -> None:
        """Nothing to let go."""


@contextlib.contextmanager
def slow_scraper(port: int) -> Iterator[None]:
    """A client that asks for metrics again and again, and reads a byte every millisecond."""
    done = threading.Event()

    def scrape() -> None:
        while not done.is_set():
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), 1) as one,
            ):
                one.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                while not done.is_set() and one.recv(1):
                    time.sleep(0.001)

    thread = threading.Thread(target=scrape, daemon=True)
    thread.start()
    yield
    done.set()
    thread.join(3)


def rate(model: Model, images: Array, sink: Sink | None, wanted_hz: float, adapter: str) -> float:
    """Frames a second of one round."""
    stream = Stream(model, adapter, metrics=None)
    start = time.perf_counter()
    for k, image in enumerate(images):
        if wanted_hz:
            time.sleep(max(0.0, start + k / wanted_hz - time.perf_counter()))
        for result in advance(stream, Frame(image, k / 30, k)):
            if sink is not None:
                sink.write(result)
    return len(images) / (time.perf_counter() - start)


def sinks(folder: Path) -> dict[str, Sink]:
    """The sinks, each behind an outlet as in a run of a camera."""
    return {
        "jsonl": outlet(f"jsonl:{folder}/out.jsonl", False),
        "csv": outlet(f"csv:{folder}/out.csv", False),
        "full disk": outlet("jsonl:/dev/full?every=1", False),
        "stuck": Outlet(Stuck(), "stuck"),
        "broker": outlet("mqtt://127.0.0.1:9/tta/bench?every_s=0.001", False),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--rate", type=float, default=0.0, help="frames a second, 0 for no limit")
    parser.add_argument("--adapter", default="auto")
    given = parser.parse_args()
    demo = files("tta.demo")
    with np.load(demo / "fashion_test.npz") as data:  # type: ignore[arg-type]
        images = data["images"]
    images = np.stack(list(itertools.islice(itertools.cycle(images), given.frames)))
    model = Model(Bundle(str(demo / "fashion.tta")))
    rate(model, images, None, 0.0, given.adapter)
    print("| sink | frame rate, share of that without | quartiles | without, Hz | taken | lost |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        made = sinks(Path(folder))
        metrics = open_sink("prometheus://:0")
        made["scraper"] = Outlet(metrics, "scraper")
        for name, sink in made.items():
            found, plain = [], []
            with contextlib.ExitStack() as around:
                if name == "scraper":
                    around.enter_context(slow_scraper(metrics.port))  # type: ignore[attr-defined]
                for k in range(given.rounds):
                    order = (None, sink) if k % 2 else (sink, None)
                    pair = {
                        s is None: rate(model, images, s, given.rate, given.adapter) for s in order
                    }
                    found.append(pair[False] / pair[True])
                    plain.append(pair[True])
            low, middle, high = np.quantile(found, (0.25, 0.5, 0.75))
            assert isinstance(sink, Outlet)
            print(f"| {name} | {middle:.3f} | {low:.3f} to {high:.3f} | {np.median(plain):,.0f} | "
                  f"{sink.written:,} | {sum(sink.lost.values()):,} |", flush=True)  # fmt: skip
            if name != "stuck":  # it would be waited for
                stack.callback(sink.close)


if __name__ == "__main__":
    main()
