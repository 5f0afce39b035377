"""Network cameras against real servers: FFmpeg's MJPEG, GStreamer's RTSP, and a server that misbehaves."""

import http.server
import io
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tta.errors import SourceError
from tta.runtime.backoff import Backoff
from tta.runtime.multipart import parts
from tta.runtime.source_uri import open_source

RED = (224, 32, 64)
HERE = Path(__file__).parent


def port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def jpeg(colour=RED, size=(32, 24), quality=90):
    image_module = pytest.importorskip("PIL.Image")
    out = io.BytesIO()
    image_module.new("RGB", size, colour).save(out, "JPEG", quality=quality)
    return out.getvalue()


def part(content, *headers):
    lines = [b"--frame", b"Content-Type: image/jpeg", *headers, b"", content, b""]
    return b"\r\n".join(lines)


class Server(http.server.ThreadingHTTPServer):
    """Serves what a test says, part by part; daemon threads end with the test."""

    daemon_threads = True
    kind = "multipart/x-mixed-replace; boundary=frame"
    pace_s = 0.01

    def __init__(self, *visits, password=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.visits, self.password, self.asked = list(visits), password, []
        self.url = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address): ...


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
        if server.password and self.headers.get("Authorization") != server.password:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        visit = server.visits.pop(0) if len(server.visits) > 1 else server.visits[0]
        self.send_response(200)
        self.send_header("Content-Type", server.kind)
        self.end_headers()
        for piece in visit:
            if piece is None:
                time.sleep(30)
            self.wfile.write(piece)
            time.sleep(server.pace_s)

    def log_message(self, *_): ...


@pytest.fixture
def serve():
    made = []

    def start(*visits, **options):
        made.append(Server(*visits, **options))
        return made[-1]

    yield start
    for server in made:
        server.shutdown()
        server.server_close()


def opened(uri, **options):
    source = open_source(uri, **options)
    source.backoff = Backoff(0.05, 0.1)
    return source


def until(source, true):
    return next(frame for frame in source if true(frame))


def is_red(frame):
    return np.abs(frame.data.reshape(-1, 3).mean(0) - RED).max() < 12


def test_corrupt_parts_are_counted_and_skipped_and_the_colours_are_rgb(serve):
    good = jpeg()
    bad = [good[: len(good) // 2], b"\xff\xd8nonsense\xff\xd9", b"<html>busy</html>", b""]
    body = [part(good), *(part(content) for content in bad), part(good), *[part(good)] * 300]
    with opened(serve(body).url + "?process=false") as source:
        frames = [frame for frame, _ in zip(source, range(2))]
        assert [frame.seq for frame in frames] == [0, 5] and all(map(is_red, frames))
        assert source.errors == 4 and "is no picture" in source.last_error


def test_corrupt_parts_are_counted_through_the_process(serve):
    server = serve([part(jpeg()), part(b"\xff\xd8cut")] * 300)
    with opened(server.url + "?action=stream&deadline_s=3&user=7") as source:
        assert is_red(until(source, lambda _: source.errors > 2))
    assert server.asked == ["/?action=stream&user=7"]  # what is no option is the camera's


def test_a_size_that_changes_in_mid_stream(serve):
    body = [part(jpeg())] * 20 + [part(jpeg(size=(64, 48)))] * 300
    with opened(serve(body).url) as source:
        frame = until(source, lambda frame: frame.data.shape == (48, 64, 3))
    assert is_red(frame) and source.counts.resized == 1


def test_a_stall_without_closing_and_a_server_that_closes(serve):
    stalls, closes = [part(jpeg())] * 3 + [None], [part(jpeg())] * 3
    with opened(serve(stalls, closes, [part(jpeg())] * 500).url, deadline_s=0.5) as source:
        until(source, lambda _: source.counts.ends == 1)
    assert source.counts.hangs == 1 and source.counts.connections == 3


def test_passwords_are_sent_and_never_shown(serve, caplog):
    import base64

    secret = "Basic " + base64.b64encode(b"me:hunter2").decode()
    server = serve([part(jpeg())] * 100, password=secret)
    place = server.url.removeprefix("http://")
    with opened(f"http://me:hunter2@{place}?process=false") as source:
        frame = next(iter(source))
    assert is_red(frame) and "hunter2" not in frame.source
    with pytest.raises(SourceError, match=r"answers 401 .*: check user and password") as caught:
        opened(f"http://me:wrong@{place}").__enter__()
    assert "wrong" not in str(caught.value)


def test_what_is_no_mjpeg_is_said(serve):
    server = serve([b"hello"])
    server.kind = "text/html"
    with pytest.raises(SourceError, match=r"sends text/html; expected multipart"):
        opened(server.url).__enter__()
    with pytest.raises(SourceError, match="cannot be reached"):
        opened(f"http://127.0.0.1:{port()}/").__enter__()


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 16])
def test_parts_however_the_bytes_are_cut(size):
    contents = [os.urandom(n) for n in (0, 1, 300)]
    right = [b"Content-Length: %d" % len(c) for c in contents]
    wrong = [b"Content-Length: 17", b"Content-Length: 99999", b"Content-Length: x"]
    for lengths in (right, wrong, [b"A: b"] * 3):
        body = b"junk" + b"".join(part(c, n) for c, n in zip(contents, lengths)) + b"--frame--"

        class Slow(io.BytesIO):
            def read1(self, most):
                return super().read1(min(most, size))

        got = [found.content for found in parts(Slow(body), b"--frame")]
        assert got[:3] == contents or lengths is wrong
        assert contents[2] in got or lengths is wrong


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg: tests/recipes/stream-servers.sh")
def test_ffmpeg_as_mjpeg_server():
    pytest.importorskip("PIL")
    at = f"http://127.0.0.1:{port()}/"
    kind = "multipart/x-mixed-replace;boundary=ffmpeg"
    colour = "color=0xE02040:s=64x48:r=25"
    command = ["ffmpeg", "-loglevel", "quiet", "-re", "-f", "lavfi", "-i", colour, "-f", "mpjpeg"]
    server = subprocess.Popen([*command, "-content_type", kind, "-listen", "1", at])
    try:
        with opened(at, insist=True) as source:
            frames = [frame for frame, _ in zip(source, range(5))]
        assert all(map(is_red, frames)) and frames[0].data.shape == (48, 64, 3)
    finally:
        server.kill()
        server.wait()


def has_rtsp_server():
    code = "import gi; gi.require_version('GstRtspServer', '1.0')"
    try:
        return not subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True).returncode
    except OSError:
        return False


@pytest.mark.skipif(not has_rtsp_server(), reason="no RTSP server: tests/recipes/stream-servers.sh")
def test_gstreamers_rtsp_server_that_stalls_and_dies():
    pytest.importorskip("cv2")
    number = port()

    def start():
        command = ["/usr/bin/python3", str(HERE / "rtsp_server.py"), str(number)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert server.stdout.readline() == b"ready\n"
        server.stdout.close()
        return server

    server = start()
    try:
        with pytest.raises(SourceError, match="cannot be opened: is the camera on, the path right"):
            opened(f"rtsp://127.0.0.1:{number}/nothing").__enter__()
        with opened(f"rtsp://127.0.0.1:{number}/camera?deadline_s=1.5&open_s=10") as source:
            frames = [frame for frame, _ in zip(source, range(5))]
            assert all(map(is_red, frames)) and frames[0].data.shape == (120, 160, 3)
            server.send_signal(signal.SIGSTOP)  # it keeps the connection and says nothing
            waker = threading.Timer(3.0, server.send_signal, [signal.SIGCONT])
            waker.start()
            assert is_red(until(source, lambda _: source.counts.hangs and source.counts.frames > 9))
            waker.join()
            before = source.counts.connections
            server.kill()
            server.wait()
            server = start()
            assert is_red(until(source, lambda _: source.counts.connections > before))
    finally:
        server.kill()
        server.wait()
