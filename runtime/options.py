"""Turns the query of a URI into keyword arguments, typed as the class that takes them says."""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from tta import registry
from tta.errors import NotFoundError, TtaError

_WORDS = {bool: "true or false", int: "an integer", float: "a number"}


def fit(
    made: Callable[..., Any],
    what: str,
    rest: Sequence[str],
    query: str,
    given: Mapping[str, Any],
    error: type[TtaError],
) -> dict[str, Any]:
    """Keyword arguments from a query and from Python, checked against a class's signature.

    Args:
        made: the class; the annotations of its constructor type the query's values.
        what: its name in messages, such as ``npz://``.
        rest: positional arguments that it will get.
        query: ``key=value&key=value``, values percent-decoded.
        given: options from Python; they win over the query.
        error: what to raise for a value of the wrong kind, or one that is missing.

    Raises:
        NotFoundError: the class takes no option of that name.
    """
    signature = inspect.signature(made)
    parameters = list(signature.parameters.values())[len(rest) :]
    named = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    hints = _hints(made)
    options: dict[str, Any] = {}
    for item in filter(None, query.split("&")):
        key, _, text = item.partition("=")
        options[key] = unquote(text)
    for key in [*options, *given]:
        if key not in named and not takes_any:
            known = ", ".join(named) or "none"
            raise NotFoundError(f"{what} has no option {key!r}; it has: {known}")
    typed = {}
    for key, text in options.items():
        if key in given:
            continue
        try:
            typed[key] = _typed(text, hints.get(key))
        except ValueError as wrong:
            raise error(f"option {key} of {what} must be {wrong}, but is {text!r}") from None
    typed.update(given)
    try:
        signature.bind(*rest, **typed)
    except TypeError as wrong:
        raise error(f"{what} cannot be made: {wrong}") from None
    return typed


def _hints(made: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(made.__init__ if inspect.isclass(made) else made)
    except (NameError, TypeError):
        return {}  # a class from outside may name types that exist for its type checker only


def _typed(text: str, hint: Any) -> Any:
    """The value that a text stands for; ValueError says in words what was expected."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = typing.get_args(hint) if union else (hint,)
    kind = next((k for k in (bool, int, float, str) if k in kinds), None)
    if kind is None:
        return registry.parse(f"untyped?value={text}")[1]["value"]
    if kind is str:
        return text
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        value = int(text) if kind is int else float(text)
    except (KeyError, ValueError):
        raise ValueError(_WORDS[kind]) from None
    if not math.isfinite(value):
        raise ValueError("a finite number")
    return value
