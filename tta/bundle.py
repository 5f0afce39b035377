"""A bundle: the folder (or a zip of it) that export writes and the runtime reads.

::

    name.tta/
      manifest.json               the contract, see tta.manifest
      infer.onnx                  slots as weights; runs alone in any onnxruntime
      batch.onnx                  forward under the statistics rule
      step/<objective>.onnx       the same with objective and gradients
      weights.safetensors         weights and source slots; the graphs point into it by offset
      calibration.safetensors     source statistics, and what calibration measured
      canaries.safetensors        labelled frames that adaptation must not unlearn, if there are any

Nothing is pickled. Every file's sha256 is checked when the bundle is opened.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from lzma import LZMAError
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from tta.errors import BundleError
from tta.manifest import Manifest
from tta.records import Array, frozen
from tta.tasks import Task, load, of

MAX_BYTES = 4 << 30  # unpacked size of a zipped bundle beyond which it is refused
_CHUNK = 1 << 20


class Bundle:
    """An opened, checked bundle.

    Attributes:
        path: folder of the bundle; a temporary one if it was opened from a zip.
        manifest: its contract.
        hash: hash of the manifest, which covers every file.

    Raises:
        BundleError: the bundle is absent, truncated, edited, newer, or hostile.
    """

    def __init__(self, path: str | Path) -> None:
        given = Path(path)
        if given.name == "infer.onnx" and given.is_file():
            given = given.parent
        if given.is_dir():
            self.path = given
            self._open()
            return
        if not given.is_file():
            raise BundleError(f"no bundle at {given}: expected a folder or a zip of one")
        scratch = Path(tempfile.mkdtemp(prefix="tta-"))
        self._cleanup = weakref.finalize(self, shutil.rmtree, scratch, True)
        try:
            self.path = _unpack(given, scratch)
            self._open()
        except BaseException:
            self._cleanup()
            raise

    def _open(self) -> None:
        manifest = self.path / "manifest.json"
        if not manifest.is_file():
            raise BundleError(
                f"{self.path} has no manifest.json, so it is no bundle: use tta export"
            )
        try:
            text = manifest.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise BundleError("manifest.json is not UTF-8; export again") from error
        self.manifest = Manifest.from_json(text)
        self.hash = self.manifest.hash
        load(self.manifest.task)
        self._verify()
        self._task: Task | None = None
        self.source_slots = self._load_slots()

    def _verify(self) -> None:
        needed = {"infer.onnx", "weights.safetensors", "calibration.safetensors"}
        needed |= {f"{graph}.onnx" for graph in self.manifest.provides}
        if missing := needed - self.manifest.files.keys():
            raise BundleError(f"the manifest lists no {', '.join(sorted(missing))}; export again")
        root = self.path.resolve()
        for name, expected in self.manifest.files.items():
            file = self.path / name
            if not file.is_file():
                raise BundleError(f"the bundle lacks {name}: copy it again")
            if not file.resolve().is_relative_to(root):
                raise BundleError(f"{name} leads out of the bundle's folder; do not trust it")
            if _sha256(file) != expected:
                raise BundleError(f"{name} is not the file that was exported (sha256 differs)")

    def _load_slots(self) -> Mapping[str, Array]:
        stored = self._tensors("weights.safetensors", {slot.name for slot in self.manifest.slots})
        values = {}
        for slot in self.manifest.slots:
            value = stored.get(slot.name)
            if value is None:
                raise BundleError(f"weights.safetensors has no slot {slot.name}; export again")
            if value.shape != slot.shape or value.dtype.name != slot.dtype:
                raise BundleError(
                    f"slot {slot.name} should be {slot.dtype}{slot.shape}, but "
                    f"weights.safetensors holds {value.dtype.name}{value.shape}"
                )
            if not np.isfinite(value).all():
                raise BundleError(f"slot {slot.name} holds NaN or infinity; export again")
            values[slot.name] = value
        return frozen(values)

    def _tensors(self, name: str, wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Tensors of a file; only the wanted ones, since weights may be large."""
        try:
            with safe_open(self.path / name, "numpy") as file:
                names = [key for key in file.keys() if wanted is None or key in wanted]  # noqa: SIM118
                return {key: file.get_tensor(key) for key in names}
        except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
            raise BundleError(f"{name} cannot be read ({error}); copy the bundle again") from error

    def calibration(self) -> Mapping[str, Array]:
        """Source statistics and figures that calibration left, by name.

        ``mean.<layer>`` and ``var.<layer>`` ``(C,)`` are what the norm layer's input had on source
        data; ``features.mean`` and ``features.var`` ``(D,)`` likewise. ``drift.<metric>.<name>`` is what a
        drift metric must know of the source; ``drift.gauge.*`` and ``drift.tail.*`` how far its scores
        stray on source streams of the correlations ``drift.rho``. ``task.<name>`` is what the task must
        know. ``explain.frame.<layer>`` and ``explain.batch.<layer>`` are what source frames add to a
        shift of the statistics, by position.
        """
        return self._tensors("calibration.safetensors")

    @property
    def task(self) -> Task:
        """How the primary output reads."""
        if self._task is None:
            self._task = of(self.manifest, self.calibration())
        return self._task

    def canaries(self) -> Mapping[str, Array]:
        """Labelled frames that came with the bundle, see ``tta.canary_data``; empty where there are none."""
        name = "canaries.safetensors"
        return self._tensors(name) if name in self.manifest.files else {}

    def graph(self, name: str) -> Path:
        """File of a graph: ``infer``, ``batch`` or ``step/<objective>``.

        Raises:
            BundleError: the bundle was exported without it; the message says how to get it.
        """
        if name != "infer" and name not in self.manifest.provides:
            kind, _, objective = name.partition("/")
            cure = {
                "step": f"export again with --objectives {objective}",
                "explain": f"export again with --explain and the objective {objective}",
            }.get(kind, "export again")
            raise BundleError(
                f"this bundle has no graph {name!r}, it provides "
                f"{', '.join(self.manifest.provides)}: {cure}"
            )
        return self.path / f"{name}.onnx"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _unpack(path: Path, folder: Path) -> Path:
    """Unpack a zipped bundle into a folder, refusing whatever a bundle never holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _extract(archive, path, folder)
    except BundleError:
        raise
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, zlib.error, LZMAError) as error:
        raise BundleError(
            f"{path} is neither a folder nor an undamaged, plain zip file ({error})"
        ) from error


def _extract(archive: zipfile.ZipFile, path: Path, folder: Path) -> Path:
    members = archive.infolist()
    if sum(m.file_size for m in members) > MAX_BYTES:
        raise BundleError(f"{path} unpacks to more than {MAX_BYTES >> 30} GiB; refused")
    names = [m.filename for m in members]
    manifests = [n for n in names if Path(n).name == "manifest.json" and n.count("/") <= 1]
    if len(manifests) != 1:
        raise BundleError(f"{path} holds {len(manifests)} manifest.json, expected one")
    for member in members:
        target = (folder / member.filename).resolve()
        link = stat.S_ISLNK(member.external_attr >> 16)
        if link or not target.is_relative_to(folder.resolve()):
            raise BundleError(f"{member.filename!r} leaves the bundle; do not trust {path}")
        if member.is_dir():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as source, target.open("wb") as out:
            written = 0
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                if written > member.file_size:
                    raise BundleError(f"{member.filename!r} is larger than it says")
                out.write(chunk)
    return (folder / manifests[0]).parent


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Add every file's sha256 to the manifest and write it, last of all files of a bundle."""
    files = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != "manifest.json":
            file.chmod(0o644)  # safetensors makes files that only their owner reads
            files[file.relative_to(folder).as_posix()] = _sha256(file)
    complete = replace(manifest, files=files)
    (folder / "manifest.json").write_text(complete.to_json(), encoding="utf-8")
    return complete


__all__ = ["MAX_BYTES", "Bundle", "write_manifest"]
