"""Reads a source's URI.

::

    scheme://rest?key=value&key=value    runtime/sources/<scheme>.py; the last ? begins the query
    0                                    camera number 0
    photos, data.npz, clip.mp4           a path: a folder, an archive, a video or image file
    my_pkg.my_mod:Class?key=value        a class from outside the project
    my_pkg.my_mod:Class://rest?key=value

A source whose class says ``captured = True`` runs in a process of its own, see ``tta.runtime.capture``,
whose options the query may hold too; ``process=false`` keeps it in this one. A class that says
``address = True`` gets the whole address, with all of its query that is neither its own option nor capture's.
"""

from __future__ import annotations

import difflib
import inspect
import os
import re
from collections.abc import Callable
from typing import Any, cast

from tta import registry
from tta.errors import NotFoundError, SourceError
from tta.protocols import Source
from tta.runtime.capture import Capture
from tta.runtime.capture_process import Opener
from tta.runtime.options import fit
from tta.runtime.redaction import redact

_PACKAGE = "tta.runtime.sources"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://(.*)", re.DOTALL)
_CLASS = re.compile(r"([A-Za-z_][\w.]*:[A-Za-z_]\w*)(?:://(.*))?", re.DOTALL)


def open_source(uri: str | int, **options: Any) -> Source:
    """Make the source that a URI names; entering it opens it.

    Args:
        uri: see the module's docstring.
        **options: as in the query, and stronger.

    Raises:
        NotFoundError: no such scheme, class or option.
        SourceError: the text names nothing, or an option's value is of the wrong kind.

    >>> source = open_source("synthetic://?shape=6&frames=2&seed=1")
    >>> with source:
    ...     [frame.data.shape for frame in source]
    [(6,), (6,)]
    """
    text = str(uri)
    if "\0" in text:
        raise SourceError(f"{redact(text)!r} is no source: it has a null byte")
    if text.isdecimal():
        text = f"camera://{text}"
    elif _exists(text):
        return _make(_scheme_of(text), [text], "", options)
    head, _, query = text.rpartition("?") if "?" in text else (text, "", "")
    if match := _SCHEME.fullmatch(head):
        return _make(match[1], [match[2]], query, options)
    if match := _CLASS.fullmatch(head):
        return _make(match[1], [] if match[2] is None else [match[2]], query, options)
    if _exists(head):
        return _make(_scheme_of(head), [head], query, options)
    raise SourceError(
        f"{redact(text)!r} is no source: expected a camera number, a path that exists, or "
        f"scheme://... with one of {', '.join(schemes())}"
    )


def schemes() -> list[str]:
    """Every scheme that a file in runtime/sources/ serves, sorted."""
    return sorted(_by_scheme())


def _exists(text: str) -> bool:
    # os.path answers no where Path raises: a name too long, an unknown ~user.
    return bool(text) and not _SCHEME.match(text) and os.path.exists(os.path.expanduser(text))


def _by_scheme() -> dict[str, str]:
    found = {}
    for name in registry.names(_PACKAGE):
        for scheme in getattr(registry.load(_PACKAGE, name), "schemes", (name,)):
            found[scheme] = name
    return found


def _scheme_of(path: str) -> str:
    if path.startswith("/dev/video"):
        return "v4l2"
    if path.startswith(("/dev/tty", "/dev/serial/")):
        return "serial"
    if os.path.isdir(os.path.expanduser(path)):
        return "dir"
    return "npz" if path.lower().endswith(".npz") else "file"


def _make(name: str, rest: list[str], query: str, options: dict[str, Any]) -> Source:
    file = name if ":" in name else _file(name)
    made, what = registry.load(_PACKAGE, file), name if ":" in name else f"{name}://"
    if not getattr(made, "captured", False):
        return cast(Source, made(*rest, **fit(made, what, rest, query, options, SourceError)))
    return _captured(made, file, what, rest, query, options)


def source_class(scheme: str) -> type[Any]:
    """The class that serves a scheme.

    Raises:
        NotFoundError: there is none.
    """
    return registry.load(_PACKAGE, _file(scheme))


def _file(scheme: str) -> str:
    known = _by_scheme()
    if scheme not in known:
        near = difflib.get_close_matches(scheme, known, n=3) or sorted(known)
        raise NotFoundError(
            f"no source serves {scheme}://; known: {', '.join(near)}, or a class of your own as "
            "my_pkg.my_mod:Class"
        )
    return known[scheme]


def _captured(
    made: Any, file: str, what: str, rest: list[str], query: str, options: dict[str, Any]
) -> Source:
    """A source in a process of its own; its constructor runs here too, to refuse what it refuses."""
    ours = {*inspect.signature(_capture).parameters} - {"opener", "plain"}
    title = f"{what}{''.join(rest)}"
    if getattr(made, "address", False):
        known = ours | {*inspect.signature(made).parameters}
        camera_s, query = _split(query, lambda key: key not in known)
        title = f"{what}{''.join(rest)}{'?' if camera_s else ''}{camera_s}"
        rest = [title]
    mine, theirs = _split(query, lambda key: key in ours)
    rests = {key: value for key, value in options.items() if key not in ours}
    typed = fit(made, what, rest, theirs, rests, SourceError)
    plain = cast(Source, made(*rest, **typed))
    chosen = {key: value for key, value in options.items() if key in ours}
    wanted = fit(_capture, what, [], mine, chosen, SourceError)
    return _capture(Opener(file, rest, typed, redact(title)), plain, **wanted)


def _split(query: str, first: Callable[[str], bool]) -> tuple[str, str]:
    """A query's items whose keys pass, and the others."""
    items = [item for item in query.split("&") if item]
    chosen = [first(item.split("=")[0]) for item in items]
    return (
        "&".join(item for item, one in zip(items, chosen) if one),
        "&".join(item for item, one in zip(items, chosen) if not one),
    )


def _capture(
    opener: Opener | None = None,
    plain: Source | None = None,
    process: bool = True,
    deadline_s: float = 5.0,
    open_s: float = 20.0,
    reconnect: bool = True,
    insist: bool = False,
    give_up_s: float | None = None,
) -> Source:
    if not process or opener is None:
        return cast(Source, plain)
    return Capture(
        opener,
        deadline_s=deadline_s,
        open_s=open_s,
        reconnect=reconnect,
        insist=insist,
        give_up_s=give_up_s,
    )
