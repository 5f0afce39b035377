"""Source and sink texts that were relative to a folder, as seen from anywhere."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from tta.arguments import path_at
from tta.errors import TtaError
from tta.runtime.sink_uri import parted
from tta.runtime.source_uri import source_class


def source_at(uri: str, folder: Path) -> str:
    """A source's URI whose path was relative to a folder.

    >>> source_at("dir://photos?fps=5", Path("/etc/tta"))
    'dir:///etc/tta/photos?fps=5'
    >>> source_at("rtsp://10.0.0.7/live", Path("/etc/tta")), source_at("0", Path("/etc/tta"))
    ('rtsp://10.0.0.7/live', '0')
    """
    if (folder / uri).exists() and not uri.isdecimal():
        return path_at(uri, folder)
    head, mark, query = uri.rpartition("?") if "?" in uri else (uri, "", "")
    scheme, colons, rest = head.partition("://")
    if not colons:
        return path_at(head, folder) + mark + query if head and (folder / head).exists() else uri
    try:
        is_path = _takes_path(source_class(scheme))
    except TtaError:
        return uri  # whoever opens it says why
    if rest and (is_path or (folder / rest).exists()):
        rest = path_at(rest, folder)
    return f"{scheme}://{rest}{mark}{query}"


def sink_at(text: str, folder: Path) -> str:
    """A sink's text whose path was relative to a folder.

    >>> sink_at("jsonl:out.jsonl?append=true", Path("/etc/tta")), sink_at("null", Path("/etc/tta"))
    ('jsonl:/etc/tta/out.jsonl?append=true', 'null')
    """
    if not (path := sink_path(text)):
        return text
    at = text.index(path, text.index(":"))
    return text[:at] + path_at(path, folder) + text[at + len(path) :]


def sink_path(text: str) -> str:
    """The path that a sink writes to, empty where it writes to none.

    >>> sink_path("csv:/srv/out.csv?append=true"), sink_path("mqtt://10.0.0.2/tta/yard")
    ('/srv/out.csv', '')
    """
    try:
        made, rest, _ = parted(text)
    except TtaError:
        return ""  # whoever opens it says why
    return rest[0] if rest and _takes_path(made) else ""


def _takes_path(made: type[Any]) -> bool:
    """Whether a class begins with a path: what its constructor calls it says so."""
    return next(iter(inspect.signature(made).parameters), "") == "path"
