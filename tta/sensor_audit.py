"""What a model relies on, by input channel, kept beside its bundle in ``audit.json``.

The file is a sidecar: it is not listed in the manifest, so it is no part of the bundle's hash. It must not
be: it is a measurement *of* the sealed bundle, whose hash it names, and adapted states and fleets know the
bundle by that hash; sealing the audit in would make every saved state belong to another bundle. The price is
that nothing but its form and that hash vouches for it: enough for a figure that is shown and never served.

::

    {"schema": 1, "bundle": sha256, "data": "npz://…", "samples": 1484, "repeats": 3, "seed": 0,
     "accuracy": [mean, low, high],
     "groups": [{"name": "gyroscope", "channels": [3, 4, 5], "permuted": [mean, low, high],
                 "drop": [mean, low, high], "dead": [mean, low, high], "alone": [mean, low, high]}]}
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tta.bundle import Bundle
from tta.errors import BundleError

FILE = "audit.json"
SCHEMA = 1
_MOST_BYTES = 1 << 20
Range = tuple[float, float | None, float | None]  # mean, and the two ends of its 95 % interval


@dataclass(frozen=True, slots=True)
class Reliance:
    """What one channel or group of channels is worth; accuracies in 0..1.

    Attributes:
        name: of the group.
        channels: its channels; empty for a part of the picture.
        permuted: accuracy with the group's readings taken from other samples, jointly.
        drop: accuracy that this costs, paired by sample.
        dead: accuracy with the group's readings at zero, as a dead sensor gives them.
        alone: accuracy with everything else permuted.
    """

    name: str
    channels: tuple[int, ...]
    permuted: Range
    drop: Range
    dead: Range
    alone: Range


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit of one bundle on labelled data."""

    bundle: str
    data: str
    samples: int
    repeats: int
    seed: int
    accuracy: Range
    groups: tuple[Reliance, ...]
    schema: int = SCHEMA

    def expected(self, dead: Iterable[str]) -> Range | None:
        """Accuracy to expect while these groups are dead; None where their union was not measured.

        Args:
            dead: names of channels or groups.
        """
        by_name = {group.name: group for group in self.groups}
        names = list(dict.fromkeys(dead))
        if any(name not in by_name for name in names):
            return None
        if len(names) == 1:
            return by_name[names[0]].dead
        channels = sorted({c for name in names for c in by_name[name].channels})
        if not channels or not all(by_name[name].channels for name in names):
            return None if names else self.accuracy
        return next((g.dead for g in self.groups if sorted(g.channels) == channels), None)


def load(bundle: Bundle) -> Audit | None:
    """The audit that lies in a bundle's folder, None where there is none.

    Raises:
        BundleError: the file is no audit, or that of another bundle.
    """
    path = bundle.path / FILE
    if not path.is_file():
        return None
    again = "measure again with tta audit"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        raw = json.loads(path.read_text(encoding="utf-8"))
        audit = _read(raw)
    except (ValueError, TypeError, KeyError, OSError, RecursionError) as error:
        raise BundleError(f"{FILE} in {bundle.path} is no audit ({error}): {again}") from error
    if audit.bundle != bundle.hash:
        raise BundleError(f"{FILE} was measured on another bundle, {audit.bundle[:12]}: {again}")
    return audit


def describe(bundle: Bundle) -> list[str]:
    """The audit in lines for ``tta inspect``, none where there is none; why, where it cannot be used."""
    try:
        audit = load(bundle)
    except BundleError as error:
        return [f"audit       {error}"]
    if audit is None:
        return []
    lines = [
        f"audit       on {audit.samples} samples of {audit.data}: accuracy {100 * audit.accuracy[0]:.1f} %",
        f"  {'channel':34}{'permuted':>10}{'dead':>10}{'alone':>10}",
    ]
    for g in sorted(audit.groups, key=lambda group: group.permuted[0]):
        figures = "".join(f"{100 * value[0]:>8.1f} %" for value in (g.permuted, g.dead, g.alone))
        lines.append(f"  {g.name:34}{figures}")
    return lines


def keep(path: str | Path, audit: Audit) -> Path:
    """Put an audit into a bundle: a folder, or a zip of one; returns where it lies.

    Raises:
        BundleError: it cannot be written there.
    """
    text = json.dumps(asdict(audit), indent=2, allow_nan=False) + "\n"
    target = Path(path)
    if target.name == "infer.onnx":
        target = target.parent
    try:
        if target.is_dir():
            _replace(target / FILE, text.encode())
            return target / FILE
        _into_zip(target, text)
        return target
    except OSError as error:
        raise BundleError(
            f"the audit cannot be kept in {path}: {error.strerror}; pass --no-keep to see it only"
        ) from error


def _replace(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        file.write(content)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def _into_zip(path: Path, text: str) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        whole = Path(folder) / path.name
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(whole, "w") as new:
            [manifest] = [
                n for n in old.namelist() if Path(n).name == "manifest.json" and n.count("/") <= 1
            ]
            target = f"{manifest.removesuffix('manifest.json')}{FILE}"
            for item in old.infolist():
                if item.filename != target:
                    with old.open(item) as source, new.open(item, "w") as out:
                        shutil.copyfileobj(source, out)
            new.writestr(target, text)
        os.replace(whole, path)


def _read(raw: Any) -> Audit:
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        raise ValueError(f"expected an object with schema {SCHEMA}")
    groups = tuple(
        Reliance(
            str(g["name"]),
            tuple(int(c) for c in g["channels"]),
            *(_range(g[key]) for key in ("permuted", "drop", "dead", "alone")),
        )
        for g in raw["groups"]
    )
    counts = (int(raw["samples"]), int(raw["repeats"]), int(raw["seed"]))
    return Audit(str(raw["bundle"]), str(raw["data"]), *counts, _range(raw["accuracy"]), groups)


def _range(raw: Any) -> Range:
    mean, low, high = raw
    return float(mean), _end(low), _end(high)


def _end(raw: Any) -> float | None:
    return None if raw is None else float(raw)


__all__ = ["FILE", "Audit", "Range", "Reliance", "describe", "keep", "load"]
