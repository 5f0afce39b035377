"""Reads a sink's text.

::

    null                           runtime/sinks/null.py
    stdout?json=true               with an option
    jsonl:out.jsonl?append=true    with a path; the last ? begins the query
    my_pkg.my_mod:Class?key=value  a class from outside the project
    my_pkg.my_mod:Class:path?key=value
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any, cast

from tta import registry
from tta.errors import TtaError
from tta.protocols import Sink
from tta.runtime.options import fit

_PACKAGE = "tta.runtime.sinks"
_CLASS = re.compile(r"([A-Za-z_][\w.]*:[A-Za-z_]\w*)(?::(.*))?", re.DOTALL)


def open_sink(text: str) -> Sink:
    """Make the sink that a text names; files are opened here.

    Raises:
        NotFoundError: no such sink, class or option.
        TtaError: the path is missing or cannot be written, or an option is of the wrong kind.

    >>> open_sink("null").write(None)
    """
    made, rest, options = parted(text)
    return cast(Sink, made(*rest, **options))


def parted(text: str) -> tuple[type[Any], list[str], dict[str, Any]]:
    """The class that a text names and what it is to be made with; nothing is opened.

    Raises:
        NotFoundError: no such sink, class or option.
        TtaError: an option is of the wrong kind.
    """
    if "\0" in text:
        raise TtaError(f"{text!r} is no sink: it has a null byte")
    head, _, query = text.rpartition("?") if "?" in text else (text, "", "")
    name, colon, path = head.partition(":")
    rest = [path] if colon else []
    match = None if name in registry.names(_PACKAGE) else _CLASS.fullmatch(head)
    if match and find_spec(name.partition(".")[0]):  # else it is a misspelt name
        name, rest = match[1], [] if match[2] is None else [match[2]]
    made = registry.load(_PACKAGE, name)
    return made, rest, fit(made, f"sink {name}", rest, query, {}, TtaError)
