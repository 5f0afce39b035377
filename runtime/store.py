"""Saves and loads adapted states: small safetensors files that name their bundle.

A file holds the slots that differ from the source and the method's memory, as ``slots/<name>`` and
``memory/<name>``, and in its metadata ``format`` (``tta-state``), ``schema``, ``bundle``, ``adapter``,
``step``, ``parent``, ``hash`` (of all slots and memory) and ``seal`` (of the other entries). It is
written beside its target, flushed to the disk and then renamed over it, so that after a power cut
either the old state or the new one is there, whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tta.bundle import Bundle
from tta.errors import StateError
from tta.records import Array, State, frozen

FORMAT, SCHEMA = "tta-state", 1
READABLE = 0o644
_ENTRIES = {"format", "schema", "bundle", "adapter", "step", "parent", "hash", "seal"}


def save_state(path: str | Path, state: State, bundle: Bundle) -> None:
    """Write a state, atomically and durably.

    Raises:
        StateError: the state belongs to another bundle, or the folder cannot be written.
    """
    if state.bundle != bundle.hash:
        raise StateError(
            "the state was adapted from another bundle, so it is not saved with this one"
        )
    tensors = {
        f"slots/{name}": np.asarray(value)
        for name, value in state.slots.items()
        if not np.array_equal(value, bundle.source_slots[name])
    }
    tensors.update({f"memory/{name}": np.asarray(value) for name, value in state.memory.items()})
    target = check_target(path)
    try:
        put_whole(target, save(tensors, _metadata(state)))
    except OSError as error:
        raise StateError(f"the state cannot be written to {target}: {error.strerror}") from error


def check_target(path: str | Path) -> Path:
    """The path of a state to write; whoever runs for hours first wants to know now whether it will do.

    Raises:
        StateError: it is a folder, or in a folder that does not exist.
    """
    target = Path(path)
    if target.is_dir():
        raise StateError(f"the state cannot be written to {target}: it is a folder")
    if not target.parent.is_dir():
        raise StateError(
            f"the state cannot be written to {target}: there is no folder {target.parent}"
        )
    return target


def load_state(path: str | Path, bundle: Bundle) -> State:
    """Read a state of this bundle.

    Raises:
        StateError: absent, damaged, newer, of another bundle, or with slots that the bundle lacks.
    """
    tensors, metadata = _read(Path(path))
    if metadata["bundle"] != bundle.hash:
        raise StateError(
            f"{path} was adapted from bundle {metadata['bundle'][:12]}, but this is "
            f"{bundle.hash[:12]} ({bundle.manifest.name}): use the bundle it came from"
        )
    slots, memory = dict(bundle.source_slots), {}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        if kind == "memory":
            memory[name] = value
            continue
        known = slots.get(name)
        if (
            kind != "slots"
            or known is None
            or (known.shape, known.dtype) != (value.shape, value.dtype)
        ):
            raise StateError(
                f"{path} holds {key!r}, {value.dtype}{value.shape}, which fits no slot of the bundle"
            )
        slots[name] = value
    state = State(
        bundle.hash,
        metadata["adapter"],
        frozen(slots),
        frozen(memory),
        int(metadata["step"]),
        metadata["parent"],
    )
    if state.hash != metadata["hash"]:
        raise StateError(
            f"{path} is damaged (its hash differs): restore another, or start from source"
        )
    if not all(np.isfinite(v).all() for v in (*state.slots.values(), *state.memory.values())):
        raise StateError(f"{path} holds NaN or infinity; restore another, or start from source")
    return state


def read_metadata(path: str | Path) -> dict[str, str]:
    """What a state file says of itself; ``load_state`` checks the tensors too.

    Raises:
        StateError: absent, damaged or newer.
    """
    return _read(Path(path))[1]


def _metadata(state: State) -> dict[str, str]:
    entries = {
        "format": FORMAT,
        "schema": str(SCHEMA),
        "bundle": state.bundle,
        "adapter": state.adapter,
        "step": str(state.step),
        "parent": state.parent,
        "hash": state.hash,
    }
    return {**entries, "seal": _seal(entries)}


def _seal(entries: Mapping[str, str]) -> str:
    """sha256 over all entries but the seal itself; the state's hash is among them."""
    covered = sorted((k, v) for k, v in entries.items() if k != "seal")
    return hashlib.sha256(json.dumps(covered).encode()).hexdigest()


def _read(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    if not path.is_file():
        raise StateError(f"no state file at {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise StateError(f"{path} is no readable state file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise StateError(f"{path} is a safetensors file, but no state of tta")
    if not metadata.get("schema", "").isdecimal() or int(metadata["schema"]) > SCHEMA:
        raise StateError(f"{path} has a newer schema than this tta reads: upgrade tta-edge")
    if metadata.keys() != _ENTRIES or metadata["seal"] != _seal(metadata):
        raise StateError(
            f"{path} is damaged (its metadata were changed): restore another, or start from source"
        )
    return tensors, metadata


def put_whole(target: Path, data: bytes) -> None:
    """Put bytes at a path so that a power cut leaves the old file or the new one."""
    handle, scratch = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, READABLE)  # a scratch file is its owner's alone
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, target)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
