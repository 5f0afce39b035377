"""Reads device profiles: what a board has, and how much of it adaptation may use."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from tta.errors import NotFoundError, TtaError
from tta.slot_profiles import PROFILES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

_FOLDER = Path(__file__).parent
_WORDS = {int: "a whole number", float: "a number", str: "a text", list: "a list of texts"}


@dataclass(frozen=True, slots=True)
class Threads:
    """Threads of a session that serves frames, and of one that adapts.

    ``spinning`` lets idle inference threads wait awake. It hurts whatever else runs on those cores, an
    adaptation thread above all.
    """

    inference: int
    adaptation: int
    spinning: bool = False


@dataclass(frozen=True, slots=True)
class Budget:
    """What adaptation may cost: milliseconds of computing per second of stream.

    ``memory_mib`` is what the whole process may have, None for no limit but the system's.
    """

    adapt_ms_per_s: float
    memory_mib: int | None = None


@dataclass(frozen=True, slots=True)
class Thermal:
    """Temperatures of the processor in °C: where the board begins to slow down, and its limit."""

    throttle_c: float
    limit_c: float


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A device as its TOML file describes it.

    Attributes:
        name: name on the command line, that of the file.
        title: name for people.
        memory_mib: memory in MiB.
        cores: processor cores.
        threads: how sessions use them.
        providers: execution providers of onnxruntime, best first.
        ep_profile: how slots reach the session where a bundle does not say: ``refold``, ``inputs`` or
            ``affine``, see ``tta.runtime.provider``.
        budget: what adaptation may cost.
        adapt: where live streams adapt: ``worker``, beside inference on a core to spare, or ``inline``, where
            inference uses them all, at the duty that the budget states.
        camera: URI of the usual camera, empty where there is none.
        cpu: what the processor is.
        recognise: patterns of device tree names and of Jetson's power model files that mean this board.
        thermal: where it slows down, None where nothing is known.
        traps: what goes wrong on it, and what helps.
        notes: what to know of it.
        sources: where each figure comes from, by its key; a choice of ours says so.
    """

    name: str
    title: str
    memory_mib: int
    cores: int
    threads: Threads
    providers: tuple[str, ...]
    ep_profile: str
    budget: Budget
    adapt: str = "worker"
    camera: str = ""
    cpu: str = ""
    recognise: tuple[str, ...] = ()
    thermal: Thermal | None = None
    traps: tuple[str, ...] = ()
    notes: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)


_OPTIONAL = (int, Thermal)


def names() -> list[str]:
    """Names of the profiles that come with tta, sorted.

    >>> "desktop" in names()
    True
    """
    return sorted(path.stem for path in _FOLDER.glob("*.toml") if path.stem != "unsupported")


def load(name: str) -> DeviceProfile:
    """Read the profile of that name, or the one in a file whose path ends in ``.toml``.

    Raises:
        NotFoundError: there is none.
        TtaError: the file is malformed; the message names key, value and file.
    """
    if name.endswith(".toml"):
        path = Path(os.path.expanduser(name))
        if not os.path.isfile(path):
            raise NotFoundError(f"there is no device profile at {path}")
    elif name in names():
        path = _FOLDER / f"{name}.toml"
    else:
        near = difflib.get_close_matches(name, names(), n=3) or names()
        raise NotFoundError(
            f"no device named {name!r}; known: {', '.join(near)}, or the path of a .toml file"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TtaError(f"{path} is not readable TOML: {error}") from error
    profile: DeviceProfile = _read(DeviceProfile, table, path, "")
    if profile.name != path.stem:
        raise TtaError(f"name in {path} must be {path.stem!r}, as the file, not {profile.name!r}")
    for key, known in (("ep_profile", PROFILES), ("adapt", ("worker", "inline"))):
        if (value := getattr(profile, key)) not in known:
            raise TtaError(f"{key} in {path} is one of {', '.join(known)}, but is {value!r}")
    hot = profile.thermal
    if hot is not None and hot.throttle_c > hot.limit_c:
        raise TtaError(
            f"thermal.throttle_c in {path} must not lie above thermal.limit_c, but {hot.throttle_c:g} > "
            f"{hot.limit_c:g}"
        )
    return profile


def _read(made: type[Any], table: dict[str, Any], path: Path, prefix: str) -> Any:
    """A dataclass from a table, each key checked."""
    hints = get_type_hints(made)
    for key in table:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            cure = f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(hints)}"
            raise TtaError(f"unknown key {prefix}{key} = {table[key]!r} in {path}; {cure}")
    needed = [f.name for f in fields(made) if f.default is f.default_factory is MISSING]
    if missing := [prefix + key for key in needed if key not in table]:
        raise TtaError(f"{path} lacks {', '.join(missing)}")
    return made(**{k: _value(hints[k], v, path, prefix + k) for k, v in table.items()})


def _value(hint: Any, value: Any, path: Path, key: str) -> Any:
    """A value of the hinted type; bool is no number, and numbers are positive."""
    hint = next((kind for kind in get_args(hint) if kind in _OPTIONAL), hint)  # X | None
    if hint in (Threads, Budget, Thermal, Mapping[str, str]):
        if not isinstance(value, dict):
            raise TtaError(f"{key} in {path} must be a table [{key}], but is {value!r}")
        if hint == Mapping[str, str]:
            return {k: _value(str, v, path, f"{key}.{k}") for k, v in value.items()}
        return _read(hint, value, path, f"{key}.")
    if hint is bool:
        if not isinstance(value, bool):
            raise TtaError(f"{key} in {path} must be true or false, but is {value!r}")
        return value
    if hint not in (int, float, str):
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise TtaError(f"{key} in {path} must be {_WORDS[list]}, but is {value!r}")
        return tuple(value)
    accepted = (int, float) if hint is float else hint
    if isinstance(value, bool) or not isinstance(value, accepted):
        raise TtaError(f"{key} in {path} must be {_WORDS[hint]}, but is {value!r}")
    if hint is not str and not 0 < value < float("inf"):
        raise TtaError(f"{key} in {path} must be positive, but is {value!r}")
    return hint(value)
