"""The contract between export and runtime, stored as ``manifest.json`` in a bundle.

A manifest MUST be UTF-8 JSON, one object, with the keys below and no others; a reader MUST refuse a
``schema`` greater than its own, and MUST check the sha256 of each file before it uses it.

==============  ==================================================================================
schema          integer, 1
name            name of the model
task            what the model is for, a file of ``tta/tasks/``: ``classify``, ``segment``, ...
input           ``{"name", "shape", "dtype"}``; the first axis is ``null``: the batch
preprocess      how a frame becomes the input: ``{"kind": "image" | "window" | "none", ...}``
outputs         shape by name, without the batch axis; ``features`` is among them
primary         name of the task output
labels          class names, may be empty
slots           ``[{"name", "role", "layer", "shape", "dtype"}]``
layers          kind by layer name: ``batch_norm``, ``layer_norm``, ``hebbian``, ...
provides        graphs beside ``infer``: ``batch``, ``step/entropy``, ...
external        by graph, the names of the initializers that lie in ``weights.safetensors``
zero_gradient   slots whose gradient is zero under batch statistics; the graphs mask them there
batch_coupled   layers whose statistics mix samples: values a channel there that one frame gives, -1 if
                it depends on the frame
defaults        options by adapter name, found at export
thresholds      calibrated thresholds by metric
ep_profiles     how slots reach the session, by execution provider (``cpu``, ``tensorrt``, ...): ``refold``,
                ``inputs`` or ``affine``; the latter two have graphs ``infer/inputs``, ``infer/affine``
files           sha256 by file name, relative to the bundle's folder
provenance      versions, source model, verification figures
==============  ==================================================================================
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any, get_args

from tta.errors import BundleError
from tta.records import Role, Slot
from tta.slot_profiles import PROFILES as PROFILES

SCHEMA = 1
FEWEST_VALUES = 3  # a channel, behind batch statistics; see ``fewest_frames``
LARGEST = 1e300  # json reads 1e400 as infinity
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FORMS: Mapping[str, Any] = {  # [x] is a list of x, {...: x} an object of x under any keys
    "schema": int,
    "name": str,
    "task": str,
    "input": {"name": str, "shape": [int | None], "dtype": str},
    "preprocess": {...: object},
    "outputs": {...: [int]},
    "primary": str,
    "labels": [str],
    "slots": [{"name": str, "role": str, "layer": str, "shape": [int], "dtype": str}],
    "layers": {...: str},
    "provides": [str],
    "external": {...: [str]},
    "zero_gradient": [str],
    "batch_coupled": {...: int},
    "defaults": {...: {...: object}},
    "thresholds": {...: float},
    "ep_profiles": {...: str},
    "files": {...: str},
    "provenance": {...: object},
}


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The model's input: its name, its shape (first axis None, the batch) and numpy type name."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"

    @property
    def sample(self) -> tuple[int | None, ...]:
        """Shape of one sample, without the batch axis."""
        return self.shape[1:]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle holds and how to use it; the keys are explained in the module's docstring."""

    name: str
    task: str
    input: InputSpec
    preprocess: Mapping[str, Any]
    outputs: Mapping[str, tuple[int, ...]]
    primary: str
    labels: tuple[str, ...]
    slots: tuple[Slot, ...]
    layers: Mapping[str, str]
    provides: tuple[str, ...]
    external: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    zero_gradient: tuple[str, ...] = ()
    batch_coupled: Mapping[str, int] = field(default_factory=dict)
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    ep_profiles: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def named(self, *roles: str) -> tuple[Slot, ...]:
        """Slots of those roles, in graph order."""
        return tuple(s for s in self.slots if s.role in roles)

    def to_json(self) -> str:
        """The JSON that is stored and hashed; layers and outputs keep their order in the graph."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @property
    def hash(self) -> str:
        """sha256 of the canonical JSON; it covers every file, since their hashes are in it."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read and validate.

        Raises:
            BundleError: not a manifest, a newer schema, a missing or ill-typed key, a file name that
                leaves the folder, two slots of one name.
        """
        try:
            raw = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"manifest.json is not JSON ({error}); export again") from error
        if not isinstance(raw, dict) or type(raw.get("schema")) is not int or raw["schema"] < 1:
            raise BundleError("manifest.json must be an object with a positive integer 'schema'")
        if raw["schema"] > SCHEMA:
            raise BundleError(
                f"this bundle has schema {raw['schema']}, this tta reads up to {SCHEMA}: "
                "upgrade tta-edge, or export the bundle with this version"
            )
        if missing := _FORMS.keys() - raw.keys():
            raise BundleError(f"manifest.json lacks {', '.join(sorted(missing))}; export again")
        if unknown := raw.keys() - _FORMS.keys():
            raise BundleError(f"manifest.json has unknown keys {', '.join(sorted(unknown))}")
        if wrong := [key for key, form in _FORMS.items() if not _fits(raw[key], form)]:
            raise BundleError(f"manifest.json has a malformed {wrong[0]!r}; export again")
        slots = tuple(Slot(**{**s, "shape": tuple(s["shape"])}) for s in raw["slots"])
        given = {key: tuple(raw[key]) for key in ("labels", "provides", "zero_gradient")}
        lists = {key: {k: tuple(v) for k, v in raw[key].items()} for key in ("outputs", "external")}
        spec = InputSpec(**{**raw["input"], "shape": tuple(raw["input"]["shape"])})
        manifest = cls(**{**raw, **given, **lists, "input": spec, "slots": slots})
        manifest._check()
        return manifest

    def _check(self) -> None:
        names = [s.name for s in self.slots]
        if len(set(names)) != len(names):
            raise BundleError("manifest.json names a slot twice; export again")
        if bad := [s.name for s in self.slots if s.role not in get_args(Role)]:
            raise BundleError(
                f"slots {bad} have a role that this tta does not know: upgrade tta-edge"
            )
        if bad := [k for k, n in self.batch_coupled.items() if n < 1 and n != -1]:
            raise BundleError(f"batch_coupled has no number of values for {bad[0]!r}; export again")
        if self.primary not in self.outputs:
            raise BundleError(f"the primary output {self.primary!r} is not among the outputs")
        for provider, profile in self.ep_profiles.items():
            if profile not in PROFILES:
                raise BundleError(
                    f"the profile of provider {provider!r} is one of {', '.join(PROFILES)}, but is "
                    f"{profile!r}: upgrade tta-edge, or export again"
                )
        if len(self.input.shape) < 2 or self.input.shape[0] is not None:
            raise BundleError(f"the input must be (batch, ...), but is {self.input.shape}")
        for name, digest in self.files.items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
                raise BundleError(f"file name {name!r} leaves the bundle's folder; do not trust it")
            if not _SHA256.fullmatch(digest):
                raise BundleError(f"file {name!r} has no valid sha256 in the manifest")


def fewest_frames(manifest: Manifest) -> int:
    """Frames a batch must hold before its statistics alone can normalize every layer.

    Mean and variance take two of the M values that a channel has in a batch: with M = 1 the variance is
    0 and the layer puts out its bias whatever comes in, with M = 2 it puts out ±1, a sign and no more.
    So M = frames·(values a frame) must be ``FEWEST_VALUES`` = 3 at least, in every layer whose
    statistics mix samples; layers with an open number of values do not count.
    """
    values = [n for n in manifest.batch_coupled.values() if n > 0]
    return max((-(-FEWEST_VALUES // n) for n in values), default=1)


def _fits(value: Any, form: Any) -> bool:
    """Whether a value read from JSON has a form of ``_FORMS``; a bool is no int."""
    if isinstance(form, list):
        return isinstance(value, list) and all(_fits(item, form[0]) for item in value)
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return False
        if ... in form:
            return all(_fits(item, form[...]) for item in value.values())
        return value.keys() == form.keys() and all(_fits(value[k], form[k]) for k in form)
    if form is float:
        return type(value) in (int, float) and -LARGEST < value < LARGEST
    return form is object or (isinstance(value, form) and not isinstance(value, bool))


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number in JSON")
