"""Takes credentials out of text before anybody reads it."""

from __future__ import annotations

import re

# A password may hold a slash or an @, so the user part reaches to the last @ of the word once a
# colon has shown that it is one; that of a nested scheme (serial://socket://...) shows nothing.
_USER = re.compile(r"(?:(?<=://)[^/\s?#@:]*|(?:(?<=://)|^)[^/\s?#@:]*:(?!//)\S*)@")
_SECRET = re.compile(r"(?i)\b(password|passwd|pwd|token|secret|api_?key|auth)=[^&\s]*")


def redact(text: str) -> str:
    """The same text without user names, passwords and tokens in its URLs.

    >>> redact("rtsp://admin:p@ss/word@10.0.0.7/stream?token=abc&fps=5")
    'rtsp://***@10.0.0.7/stream?token=***&fps=5'
    >>> redact("dir:///home/me@work/photos")
    'dir:///home/me@work/photos'
    """
    return _SECRET.sub(r"\1=***", _USER.sub("***@", text))
