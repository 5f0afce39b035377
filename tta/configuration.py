"""One TOML file that equals the flags of a command.

::

    bundle = "mine.tta"                # what has no dashes on the command line goes by its name
    source = ["v4l2:///dev/video0"]    # what may be repeated is a list, or one value
    commit-s = 5                       # --commit-s 5; commit_s is the same

    [recording]                        # a group of flags may be a table
    record = "frames"

Keys, types, choices and ranges are those of the command's argparse parser: a new flag is a new key. A path is
relative to the file. What the command line says wins.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tta.arguments import Located
from tta.errors import NotFoundError, TtaError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

Build = Callable[[argparse.ArgumentParser], None]  # puts a command's flags into a parser
STANDARD = 2  # groups that argparse makes: positional arguments, and options
_SPLIT = "one of the two is enough"


class FromFile(argparse.Action):
    """``--config FILE``: what the file can say, the command line need not."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, *rest: Any) -> None:
        """Note the file."""
        setattr(namespace, self.dest, rest[0])
        for action in parser._actions:
            action.required = False


def add_config(p: argparse.ArgumentParser) -> None:
    """Give a command ``--config``; to be called last, since it leaves every flag unset that is not given."""
    for action in p._actions:
        action.default = argparse.SUPPRESS
    p.add_argument(
        "--config", action=FromFile, metavar="FILE", help="TOML that equals these flags, which win"
    )


def keys(build: Build) -> dict[str, argparse.Action]:
    """The keys that a file may have, with what argparse knows of each."""
    actions = parser_of(build)._actions
    return {a.dest: a for a in actions if a.dest != "help"}


def tables(build: Build) -> dict[str, list[str]]:
    """Tables that may hold keys, by the first word of the group's title."""
    groups = parser_of(build)._action_groups[STANDARD:]
    return {table_name(g.title): [a.dest for a in g._group_actions] for g in groups}


def settled(given: argparse.Namespace, build: Build) -> argparse.Namespace:
    """What a command is told in all: by the command line, else by the file, else by default.

    Raises:
        NotFoundError: there is no such file.
        TtaError: the file, or what must be said is said by neither.
    """
    path = getattr(given, "config", None)
    values, wrong = read(path, build) if path else ({}, [])
    made = merged(vars(given), values, build)
    wrong += missing(made, build)
    if wrong:
        more = f"; and {len(wrong) - 1} more: tta config check {path}" if wrong[1:] else ""
        raise TtaError(f"{path}: {wrong[0]}{more}")
    made.config = path
    return made


def merged(given: Mapping[str, Any], values: Mapping[str, Any], build: Build) -> argparse.Namespace:
    """Values of the command line, else of a file, else by default, None where there is no default."""
    made = {key: _default(action) for key, action in keys(build).items()}
    return argparse.Namespace(**{**made, **values, **given})


def missing(made: argparse.Namespace, build: Build) -> list[str]:
    """A sentence for each key that must have a value and has none."""
    needed = [key for key, a in keys(build).items() if a.required and getattr(made, key) is None]
    return [f"{key} is missing, and the command line has none either: add it" for key in needed]


def read(path: str | Path, build: Build) -> tuple[dict[str, Any], list[str]]:
    """The values of a file by key, as the command line would give them, and a sentence for each wrong one.

    Raises:
        NotFoundError: there is no such file.
        TtaError: it is no TOML, or cannot be read.
    """
    file = Path(os.path.expanduser(path))
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(
            f"there is no configuration at {file}: tta config example > {file}"
        ) from None
    except (OSError, ValueError) as error:
        raise TtaError(f"{file} is not readable TOML: {error}") from error
    known, values, wrong = keys(build), dict[str, Any](), list[str]()
    for name, value in _flat(table, tables(build), known, wrong):
        key = name.replace("-", "_")
        if key not in known:
            wrong.append(f"there is no key {name} (= {_shown(value)}); {_near(key, list(known))}")
        elif key in values:
            wrong.append(f"{key} is there twice, and the second is {_shown(value)}: {_SPLIT}")
        else:
            try:
                values[key] = _read(known[key], value, file.absolute().parent)
            except ValueError as error:
                wrong.append(f"{key} {error}")
    return values, wrong


def _flat(
    table: Mapping[str, Any],
    groups: Mapping[str, list[str]],
    known: Mapping[str, argparse.Action],
    wrong: list[str],
) -> Iterator[tuple[str, Any]]:
    """The keys of a file and its tables."""
    for name, value in table.items():
        if not isinstance(value, dict):
            yield name, value
        elif name not in groups:
            near = _near(name, list(groups), "[{}]")
            what = f"{name} is no table" if name in known else f"there is no table [{name}]"
            wrong.append(f"{what}; {near}")
        else:
            for key, inner in value.items():
                if key.replace("-", "_") in groups[name] or key.replace("-", "_") not in known:
                    yield key, inner
                else:
                    wrong.append(
                        f"{key} (= {_shown(inner)}) is no key of [{name}]: put it above the first table"
                    )


def _read(action: argparse.Action, value: Any, folder: Path) -> Any:
    """A value as the command line would read it; ValueError says in words what was expected."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, but is {_shown(value)}")
        return value
    if not several(action):
        return _one(action, value, folder)
    each = value if isinstance(value, list) else [value]
    if not each:
        raise ValueError("is an empty list: name at least one, or leave the key out")
    return [_one(action, one, folder) for one in each]


def _one(action: argparse.Action, value: Any, folder: Path) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"must be {_kind(action)}, but is {_shown(value)}")
    reader: Any = action.type or str
    try:
        made = reader(str(value))
    except (argparse.ArgumentTypeError, ValueError, TypeError):
        raise ValueError(f"must be {_kind(action)}, but is {_shown(value)}") from None
    if action.choices is not None and made not in action.choices:
        near = difflib.get_close_matches(str(made), [str(c) for c in action.choices], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"must be {_kind(action)}, but is {_shown(value)}{hint}")
    if isinstance(value, float) and made == str(value):
        raise ValueError(f"must be {_kind(action)}, but is {_shown(value)}")
    return reader.at(made, folder) if isinstance(reader, Located) else made


def several(action: argparse.Action) -> bool:
    """Whether a flag may be repeated, or takes several words."""
    return action.nargs in ("+", "*") or isinstance(action, argparse._AppendAction)


def _kind(action: argparse.Action) -> str:
    if action.choices is not None:
        return f"one of {', '.join(map(str, action.choices))}"
    plain = {int: "a whole number", float: "a number"}.get(action.type, "a text in quotes")  # type: ignore[call-overload]
    return str(getattr(action.type, "range", plain))


def _near(name: str, known: list[str], form: str = "{}") -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {form.format(near[0])}?"
    return f"known: {', '.join(form.format(k) for k in known)}"


def _shown(value: Any) -> str:
    """A value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _default(action: argparse.Action) -> Any:
    reader: Any = action.type or str
    return reader(action.default) if isinstance(action.default, str) else action.default


def table_name(title: str | None) -> str:
    """The table of a group of flags: the first word of its title."""
    return (title or "").split()[0].rstrip(",")


def parser_of(build: Build) -> argparse.ArgumentParser:
    """A parser with the flags of a command, as its own would have them."""
    parser = argparse.ArgumentParser(add_help=False)
    build(parser)
    return parser
