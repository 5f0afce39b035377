"""Parts of a ``multipart/x-mixed-replace`` body, from any file of bytes; does no network I/O of its own.

::

    --boundary CRLF Content-Type: image/jpeg CRLF Content-Length: 242 CRLF  CRLF  242 bytes CRLF --boundary

Content-Length is optional (RFC 2046 knows only the boundary) and cameras get it wrong, so a part whose length
does not end at a boundary is cut at the next boundary instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from tta.errors import SourceError

_MOST = 32 << 20  # bytes of one part
_CHUNK = 1 << 16


class Readable(Protocol):
    """What parts are read from."""

    def read1(self, size: int, /) -> bytes:
        """Some bytes, at most so many; empty at the end."""


class Part(NamedTuple):
    """One part: its headers, in lower case, and its content."""

    headers: dict[str, str]
    content: bytes


def parts(body: Readable, boundary: bytes) -> Iterator[Part]:
    r"""The parts of a body, each as soon as the bytes behind it have come.

    Args:
        body: the bytes.
        boundary: as the header names it, with or without leading dashes.

    Raises:
        SourceError: a part that does not end.

    >>> import io
    >>> text = b"--b\r\nX: 1\r\n\r\none\r\n--b\r\nContent-Length: 5\r\n\r\n--b--\r\n--b--\r\n"
    >>> [(part.headers.get("x"), part.content) for part in parts(io.BytesIO(text), b"b")]
    [('1', b'one'), (None, b'--b--')]
    """
    mark = b"--" + boundary.strip(b'"').removeprefix(b"--")
    held = b""
    while True:
        begin = held.find(mark)
        head_end = held.find(b"\r\n\r\n", begin) if begin >= 0 else -1
        if head_end < 0:
            held, more = _more(body, held)
            if not more:
                return
            continue
        headers = _headers(held[begin + len(mark) : head_end])
        held = held[head_end + 4 :]
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) <= _MOST:
            more = True
            while len(held) < int(length) + 2 + len(mark) and more:
                held, more = _more(body, held)
            if held[int(length) :].lstrip(b"\r\n").startswith(mark) or not more:
                yield Part(headers, held[: int(length)])
                held = held[int(length) :]
                continue
        more, end = True, held.find(mark)
        while end < 0 and more:
            held, more = _more(body, held)
            end = held.find(mark)
        content = held if end < 0 else held[:end]
        yield Part(headers, content.removesuffix(b"\n").removesuffix(b"\r"))
        held = b"" if end < 0 else held[end:]


def _more(body: Readable, held: bytes) -> tuple[bytes, bool]:
    if len(held) > _MOST:
        raise SourceError(f"a part of the stream is longer than {_MOST >> 20} MiB, or has no end")
    data = body.read1(_CHUNK)
    return held + data, bool(data)


def _headers(text: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.decode("latin-1").splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in pairs if name.strip()}
