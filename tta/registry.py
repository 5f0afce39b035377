"""Finds things by file name: the folder is the registry.

``tta/adapters/tent.py`` is the adapter ``tent`` because it lies there; nothing else names it. A file
called like a standard module takes a trailing underscore, which its name here drops (``csv_.py`` is
``csv``); a file that begins with an underscore is no algorithm. ``my_pkg.my_mod:Class`` names a class
outside the project.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import pkgutil
import sys
from types import ModuleType
from typing import Any

from tta.errors import NotFoundError


def names(package: str) -> list[str]:
    """Names of the algorithms in a package, sorted.

    >>> "tent" in names("tta.adapters")
    True
    """
    return list(modules(package))


def modules(package: str) -> dict[str, str]:
    """Names in a package, sorted, with the full name of each one's module.

    >>> modules("tta.adapters")["tent"]
    'tta.adapters.tent'
    """
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    files = sorted(m.name for m in found if not m.name.startswith("_"))
    return {name.rstrip("_"): f"{package}.{name}" for name in files}


def public_class(module: ModuleType) -> type[Any]:
    """The one public class that a module defines."""
    classes = [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    ]
    if len(classes) != 1:
        raise NotFoundError(
            f"{module.__name__} must define exactly one public class, but has "
            f"{[c.__name__ for c in classes]}"
        )
    return classes[0]


def load(package: str, name: str) -> type[Any]:
    """The class of that name.

    Raises:
        NotFoundError: there is no such name; the message offers the nearest ones.
    """
    if ":" in name:
        module_name, _, class_name = name.partition(":")
        here = os.getcwd()  # a console script does not have it there
        sys.path.insert(0, here)
        try:
            found: type[Any] = getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError) as error:
            raise NotFoundError(f"cannot load {name!r}: {error}") from error
        finally:
            sys.path.remove(here)
        if not callable(found):
            raise NotFoundError(f"{name!r} is no class, but of type {type(found).__name__}")
        return found
    known = names(package)
    if name not in known:
        kind = package.rpartition(".")[2].rstrip("s")
        near = difflib.get_close_matches(name, known, n=3) or known
        raise NotFoundError(f"no {kind} named {name!r}; known: {', '.join(near)}")
    try:
        module = importlib.import_module(f"{package}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{package}.{name}":
            raise
        module = importlib.import_module(f"{package}.{name}_")
    return public_class(module)


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Split ``name?key=value&key=value`` into the name and typed options.

    >>> parse("nhl?eta=1e-3&mode=first&anti=true")
    ('nhl', {'eta': 0.001, 'mode': 'first', 'anti': True})
    """
    name, _, query = text.partition("?")
    options: dict[str, Any] = {}
    for item in filter(None, query.split("&")):
        key, _, value = item.partition("=")
        options[key] = _typed(value)
    return name, options


def _typed(value: str) -> Any:
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def build(package: str, text: str) -> Any:
    """Make the object that ``name?key=value`` names.

    Raises:
        NotFoundError: unknown name, or an option that the class does not take.
    """
    name, options = parse(text)
    made = load(package, name)
    known = list(inspect.signature(made).parameters)
    for key in options:
        if key not in known:
            kind = package.rpartition(".")[2].rstrip("s")
            raise NotFoundError(
                f"{kind} {name!r} has no option {key!r}; it has: {', '.join(known)}"
            )
    return made(**options)
