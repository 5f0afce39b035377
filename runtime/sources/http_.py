"""A camera that speaks MJPEG over HTTP: ``http://user:password@10.0.0.7:8080/?action=stream&timeout_s=5``."""

from __future__ import annotations

import io
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import numpy as np

from tta.errors import SourceError
from tta.records import Array, Frame
from tta.runtime.extra import load_extra
from tta.runtime.multipart import parts
from tta.runtime.redaction import redact


class Http:
    """The pictures of a ``multipart/x-mixed-replace`` stream, ``(H, W)`` or ``(H, W, 3)`` RGB uint8.

    Frames are stamped when they were decoded. A part that is cut off or no picture is left out and counted,
    and leaves a gap in the sequence numbers; damage that leaves a JPEG well-formed cannot be seen. ``meta``
    has ``sent_s``, on the camera's clock, where the camera sends ``X-Timestamp``.

    Args:
        url: the camera's address, with all of its query that is no option; a user and password in it answer
            Basic and Digest requests.
        timeout_s: longest silence of the server.
        verify: whether an https certificate must be valid; cameras make their own.

    Attributes:
        errors: parts so far that were no pictures.
        last_error: what was wrong with the last one.
    """

    live = True
    captured = True
    address = True
    schemes = ("http", "https")

    def __init__(self, url: str, *, timeout_s: float = 10.0, verify: bool = True) -> None:
        parsed = urlsplit(url)
        if not parsed.hostname:
            raise SourceError("http:// needs a camera, as in http://10.0.0.7:8080/stream.mjpg")
        if timeout_s <= 0:
            raise SourceError("option timeout_s of http:// must be positive")
        self._user, self._password = unquote(parsed.username or ""), unquote(parsed.password or "")
        place = parsed.netloc.rpartition("@")[2]
        self._url = urlunsplit(parsed._replace(netloc=place))
        self._name = redact(self._url)
        self._timeout_s, self._verify = timeout_s, verify
        self._response: Any = None
        self._boundary = b""
        self.errors, self.last_error = 0, ""

    def __enter__(self) -> Http:
        manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        manager.add_password(None, self._url, self._user, self._password)
        context = ssl.create_default_context()
        if not self._verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),  # cameras are in the house
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPBasicAuthHandler(manager),
            urllib.request.HTTPDigestAuthHandler(manager),
        )
        try:
            self._response = opener.open(self._url, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            error.close()
            cure = {401: "user and password", 403: "user and password", 404: "the path"}
            raise SourceError(
                f"{self._name} answers {error.code} {error.reason}: check "
                f"{cure.get(error.code, 'the camera')}"
            ) from None
        except (OSError, HTTPException) as error:
            raise SourceError(f"{self._name} cannot be reached: {error}") from None
        kind = self._response.headers.get("Content-Type", "")
        found = re.search(r'boundary="?([^";]+)', kind)
        if not kind.startswith("multipart/") or found is None:
            self._close()
            raise SourceError(
                f"{self._name} sends {kind or 'no type'}; expected multipart/x-mixed-replace with a "
                "boundary: name the camera's MJPEG address"
            )
        self._boundary = found[1].encode("latin-1")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def __iter__(self) -> Iterator[Frame]:
        if self._response is None:
            raise SourceError(f"{self._name} is not open: use it in a with statement")
        try:
            for seq, part in enumerate(parts(self._response, self._boundary)):
                try:
                    data = decode(part.content)
                except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises
                    self.errors += 1
                    self.last_error = f"part {seq} of {self._name} is no picture: {error}"
                    continue
                sent = part.headers.get("x-timestamp", "")
                meta = {"sent_s": float(sent)} if re.fullmatch(r"\d+(\.\d+)?", sent) else {}
                yield Frame(data, time.monotonic(), seq, self._name, meta)
        except (OSError, HTTPException) as error:
            raise SourceError(f"{self._name} stopped: {error or type(error).__name__}") from None

    def _close(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()


def decode(content: bytes) -> Array:
    """The picture of a JPEG: ``(H, W)`` gray or ``(H, W, 3)`` RGB uint8.

    Raises:
        ValueError: it has no beginning or no end.
        OSError: it cannot be decoded.
    """
    if not content.startswith(b"\xff\xd8"):
        raise ValueError(f"it begins with {content[:8]!r}, not as a JPEG")
    if b"\xff\xd9" not in content[-16:]:  # some cameras pad
        raise ValueError(f"its {len(content)} bytes are cut off")
    image_module = load_extra("images", "http:// MJPEG", "PIL.Image")
    with image_module.open(io.BytesIO(content)) as image:
        return np.array(image if image.mode in ("L", "RGB") else image.convert("RGB"))
