"""Capture-to-prediction latency, end to end with its parts, and what the loop itself costs a frame.

    python -m tests.bench.latency [--frames 300] [--fps 30] [--size 640x480]

A local MJPEG server stamps each picture when it sends it; the clock is one, since all runs on one machine.
Parts, in ms: ``send`` until the capture process has decoded it, ``hand`` until the loop has it, ``model``
preprocessing and inference, ``rest`` of the loop (monitor, buffer, result) until the result is there.
"""

import argparse
import http.server
import io
import threading
import time

import numpy as np
from PIL import Image

from tta.bundle import Bundle
from tta.records import Frame
from tta.runtime.loop import advance
from tta.runtime.source_uri import open_source
from tta.runtime.stream import Model, Stream


def server(size, fps):
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(8):
        out = io.BytesIO()
        noise = rng.integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
        Image.fromarray(noise).resize(size).save(out, "JPEG", quality=85)
        pictures.append(out.getvalue())

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
            self.end_headers()
            n, begin = 0, time.monotonic()
            try:
                while True:
                    time.sleep(max(0.0, begin + n / fps - time.monotonic()))
                    body = pictures[n % 8]
                    stamp = f"X-Timestamp: {time.monotonic():.6f}"
                    head = f"\r\n{stamp}\r\nContent-Length: {len(body)}\r\n\r\n"
                    self.wfile.write(head.encode() + body + b"\r\n--b")
                    n += 1
            except OSError:
                return

        def log_message(self, *_): ...

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, daemon=True).start()
    return made


def told(name, seconds):
    ms = np.array(seconds) * 1e3
    print(f"{name:24s} p50 {np.percentile(ms, 50):7.3f}   p99 {np.percentile(ms, 99):7.3f} ms")


def main():
    given = argparse.ArgumentParser()
    given.add_argument("--bundle", default="tta/demo/fashion.tta")
    given.add_argument("--frames", type=int, default=300)
    given.add_argument("--fps", type=float, default=30)
    given.add_argument("--size", default="640x480")
    given = given.parse_args()
    size = tuple(int(n) for n in given.size.split("x"))
    bundle = Bundle(given.bundle)
    stream = Stream(Model(bundle), "none")
    web = server(size, given.fps)
    parts = {name: [] for name in ("send", "hand", "model", "rest", "all")}
    real, spent = stream.predict, [0.0]
    make = stream.preprocess

    def timed(call):
        def wrapped(*values):
            begin = time.perf_counter()
            try:
                return call(*values)
            finally:
                spent[0] += time.perf_counter() - begin

        return wrapped

    stream.predict, stream.preprocess = timed(real), timed(make)
    with open_source(f"http://127.0.0.1:{web.server_port}/") as source:
        for n, frame in enumerate(source):
            got, spent[0] = time.monotonic(), 0.0
            list(advance(stream, frame))
            done = time.monotonic()
            if n >= 20:  # after the first ones, which warm up
                parts["send"].append(frame.t_s - frame.meta["sent_s"])
                parts["hand"].append(got - frame.t_s)
                parts["model"].append(spent[0])
                parts["rest"].append(done - got - spent[0])
                parts["all"].append(done - frame.meta["sent_s"])
            if n == given.frames:
                break
        print(f"{given.size} at {given.fps:g} fps: {source.counts}")
    for name, seconds in parts.items():
        told(name, seconds)
    bare = Stream(Model(bundle), "none")
    bare_predict, bare_make = timed(bare.predict), timed(bare.preprocess)
    bare.predict, bare.preprocess = bare_predict, bare_make
    data, loop = np.zeros((28, 28), np.uint8), []
    for n in range(5000):
        begin, spent[0] = time.perf_counter(), 0.0
        list(advance(bare, Frame(data, n / 30, n)))
        loop.append(time.perf_counter() - begin - spent[0])
    told("loop alone, a frame", loop)


if __name__ == "__main__":
    main()
