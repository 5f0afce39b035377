"""A configuration file with every key of a command, commented, to begin with."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from tta.configuration import STANDARD, Build, parser_of, several, table_name

WIDE = 88
HEAD = """\
# Every flag of tta run as a key. A key behind "# " shows its default, or an example where there is none.
# Paths are relative to this file; what the command line says wins. tta config check looks it over.
"""
BEGIN = {"bundle": "mine.tta", "source": ["v4l2:///dev/video0"], "sink": ["stdout"]}


def example(build: Build) -> str:
    """The text of the file; without its comment signs it is TOML, too."""
    lines = [HEAD.rstrip()]
    groups = parser_of(build)._action_groups
    for k, group in enumerate(groups):
        if k >= STANDARD:
            lines += ["", f"[{table_name(group.title)}]  # {group.title}"]
        for action in group._group_actions:
            needed = action.required
            value = BEGIN.get(action.dest, _value(action))
            lines += ["", *_about(action)]
            lines.append(f"{'' if needed else '# '}{action.dest} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _about(action: argparse.Action) -> list[str]:
    told = [(action.help or "").replace("%%", "%")]
    if action.choices is not None:
        told.append(f"one of {', '.join(map(str, action.choices))}")
    elif accepted := getattr(action.type, "range", ""):
        told.append(accepted)
    if several(action):
        told.append("one, or a list")
    return textwrap.wrap(
        "; ".join(filter(None, told)), WIDE, initial_indent="#: ", subsequent_indent="#: "
    )


def _value(action: argparse.Action) -> Any:
    """The default, or what would be accepted."""
    if action.default is not None:
        return action.default
    if action.choices is not None:
        return next(iter(action.choices))
    plain: Any = {int: 1, float: 1.0}.get(action.type)  # type: ignore[call-overload]
    sample = getattr(action.type, "sample", plain)
    return str(action.metavar or "…") if sample is None else sample


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
