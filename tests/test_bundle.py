"""Bundles that are truncated, edited, newer or hostile are refused in one sentence."""

import dataclasses
import json
import shutil
import stat
import struct
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tta.bundle
from tta.bundle import Bundle, write_manifest
from tta.errors import BundleError
from tta.manifest import Manifest

DEMO = Path(str(files("tta.demo") / "fashion.tta"))
FILES = sorted(str(f.relative_to(DEMO)) for f in DEMO.rglob("*") if f.is_file())


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(DEMO, tmp_path / "model.tta")
    return tmp_path / "model.tta"


def refused(path, pattern):
    with pytest.raises(BundleError, match=pattern) as caught:
        Bundle(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def rewrite(folder, **changes):
    (folder / "manifest.json").write_text(json.dumps({**manifest(folder), **changes}))


def resealed(folder, tensors=None, **changes):
    """Tampered with by someone who keeps the hashes right."""
    if tensors is not None:
        save_file(tensors, folder / "weights.safetensors")
    known = Manifest.from_json((folder / "manifest.json").read_text(encoding="utf-8"))
    write_manifest(folder, dataclasses.replace(known, **changes))


def test_a_good_bundle(folder):
    opened = Bundle(folder)
    assert opened.hash == Bundle(DEMO).hash == Bundle(str(folder / "infer.onnx")).hash
    assert set(opened.source_slots) == {s.name for s in opened.manifest.slots}
    assert not any(v.flags.writeable for v in opened.source_slots.values())
    assert {f"mean.{n}" for n, k in opened.manifest.layers.items() if k == "batch_norm"} <= set(
        opened.calibration()
    )
    for name in ("infer", *opened.manifest.provides):
        assert opened.graph(name).is_file()


def test_a_graph_that_it_lacks_is_named_with_the_cure():
    with pytest.raises(BundleError, match=r"no graph 'step/actmad'.*--objectives actmad"):
        Bundle(DEMO).graph("step/actmad")
    with pytest.raises(BundleError, match=r"no graph '\.\./infer'"):
        Bundle(DEMO).graph("../infer")


def test_the_manifest_survives_a_round_trip():
    known = Bundle(DEMO).manifest
    again = Manifest.from_json(known.to_json())
    assert again == known and again.hash == known.hash
    assert [s.name for s in known.named("mean")] == [
        s.name for s in known.slots if s.name.endswith(".mean")
    ]


def test_no_bundle(tmp_path):
    refused(tmp_path / "absent.tta", "no bundle at")
    refused(tmp_path, "no manifest.json")
    (tmp_path / "text").write_text("hello")
    refused(tmp_path / "text", "neither a folder nor an undamaged, plain zip")


@pytest.mark.parametrize("name", [f for f in FILES if f != "manifest.json"])
def test_any_edited_byte(folder, name):
    file, rng = folder / name, np.random.default_rng(0)
    good = file.read_bytes()
    for place in {0, len(good) // 2, len(good) - 1, *rng.integers(0, len(good), 5).tolist()}:
        bad = bytearray(good)
        bad[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(bad)
        refused(folder, "is not the file that was exported")
    file.write_bytes(good)
    assert Bundle(folder).hash


@pytest.mark.parametrize("name", FILES)
def test_truncation(folder, name):
    file = folder / name
    good = file.read_bytes()
    for length in {0, 1, len(good) // 3, len(good) - 1}:
        file.write_bytes(good[:length])
        if name == "manifest.json" and length == len(good) - 1:
            continue  # only the last line break is gone
        with pytest.raises(BundleError):
            Bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    refused(folder, "lacks|no manifest.json")


def test_an_edited_manifest_is_refused_or_another_bundle(folder):
    """Nothing vouches for the manifest but its hash, which states name; and nothing else is raised."""
    file, rng, hashes = folder / "manifest.json", np.random.default_rng(1), set()
    good = file.read_bytes()
    known = Manifest.from_json(good.decode())
    for place in rng.integers(0, len(good), 400).tolist():
        bad = bytearray(good)
        bad[place] ^= 1 << int(rng.integers(8))
        try:
            text = bytes(bad).decode()
        except UnicodeDecodeError:
            continue
        try:
            found = Manifest.from_json(text)
        except BundleError as error:
            assert "\n" not in str(error)
            continue
        assert found.hash != known.hash or json.loads(text) == json.loads(good)
        hashes.add(found.hash)
    assert len(hashes) > 10


def test_a_newer_schema(folder):
    rewrite(folder, schema=2)
    refused(folder, "schema 2, this tta reads up to 1: upgrade")


@pytest.mark.parametrize("schema", [None, "1", 1.0, True, 0, -1])
def test_a_schema_that_is_none(folder, schema):
    rewrite(folder, schema=schema)
    refused(folder, "schema")


def test_not_json(folder):
    file = folder / "manifest.json"
    for text in ("", "{", "[]", "3", "null", '"text"', "{'schema': 1}", "[" * 100_000, "NaN"):
        file.write_text(text)
        refused(folder, "manifest.json")


def test_not_utf_8(folder):
    (folder / "manifest.json").write_bytes(b'{"schema": 1, "name": "\xff\xfe"}')
    refused(folder, "not UTF-8")
    (folder / "manifest.json").write_text("{}", encoding="utf-16")
    refused(folder, "not UTF-8")


JUNK = [
    None,
    5,
    -1,
    0.5,
    True,
    "text",
    [],
    {},
    [5],
    ["a"],
    {"a": 1},
    {"a": None},
    [None],
    [[1]],
    1e400,
]
KEYS = [f.name for f in dataclasses.fields(Manifest)]
OPEN = {  # what may hold anything of its type
    "name": str,
    "task": str,
    "preprocess": dict,
    "labels": list,
    "provides": list,
    "zero_gradient": list,
    "batch_coupled": dict,
    "provenance": dict,
    "layers": dict,
    "ep_profiles": dict,
    "defaults": dict,
    "thresholds": dict,
    "external": dict,
}


@pytest.mark.parametrize("key", KEYS)
def test_values_of_another_type(key):
    good = json.loads((DEMO / "manifest.json").read_text())
    for junk in JUNK:
        text = json.dumps({**good, key: junk})
        if isinstance(junk, OPEN.get(key, ())) and not _wrong_inside(key, junk):
            Manifest.from_json(text)
            continue
        if key in ("files", "slots") and junk in ([], {}) and type(junk) is type(good[key]):
            continue  # the bundle, not the manifest, says what is missing
        with pytest.raises(BundleError):
            Manifest.from_json(text)


def _wrong_inside(key, junk):
    if isinstance(junk, list):
        return any(not isinstance(item, str) for item in junk)
    inside = {"thresholds": (int, float), "layers": str, "ep_profiles": str, "defaults": dict}
    inside["batch_coupled"] = int
    kinds = inside.get(key, list if key == "external" else object)
    return isinstance(junk, dict) and any(not isinstance(v, kinds) for v in junk.values())


def test_missing_and_unknown_keys():
    good = json.loads((DEMO / "manifest.json").read_text())
    for key in KEYS:
        with pytest.raises(BundleError, match=key):
            Manifest.from_json(json.dumps({k: v for k, v in good.items() if k != key}))
    with pytest.raises(BundleError, match="unknown keys extra"):
        Manifest.from_json(json.dumps({**good, "extra": 1}))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_thresholds_that_are_no_numbers(value):
    text = (DEMO / "manifest.json").read_text()
    good = json.loads(text)
    spoiled = json.dumps({**good, "thresholds": {"entropy": 12345}}).replace("12345", value)
    with pytest.raises(BundleError):
        Manifest.from_json(spoiled)


def spoil_slot(**changes):
    def change(good):
        first, *rest = good["slots"]
        return {"slots": [{**first, **changes}, *rest]}

    return change


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (spoil_slot(role="boss"), "role that this tta does not know"),
        (lambda good: {"slots": good["slots"] * 2}, "names a slot twice"),
        (lambda good: {"primary": "answer"}, "primary output 'answer'"),
        (lambda good: {"input": {**good["input"], "shape": [1, 28]}}, "batch"),
        (lambda good: {"input": {**good["input"], "shape": [None]}}, "batch"),
        (lambda good: {"files": {**good["files"], "infer.onnx": "abc"}}, "no valid sha256"),
        (lambda good: {"files": {**good["files"], "infer.onnx": "A" * 64}}, "no valid sha256"),
    ],
)
def test_manifests_that_contradict_themselves(folder, change, pattern):
    rewrite(folder, **change(manifest(folder)))
    refused(folder, pattern)


@pytest.mark.parametrize(
    "name", ["../x", "step/../../x", "/etc/passwd", "..", "C:\\x", "step\\..\\x", "c:x"]
)
def test_paths_that_leave_the_folder(folder, name):
    (folder.parent / "x").write_bytes(b"")
    rewrite(folder, files={**manifest(folder)["files"], name: "0" * 64})
    refused(folder, "leaves the bundle's folder")


def test_a_link_out_of_the_folder(folder):
    outside = folder.parent / "weights"
    (folder / "weights.safetensors").rename(outside)
    (folder / "weights.safetensors").symlink_to(outside)
    refused(folder, "leads out of the bundle's folder")
    shutil.move(folder / "step", folder.parent / "elsewhere")
    (folder / "weights.safetensors").unlink()
    outside.rename(folder / "weights.safetensors")
    (folder / "step").symlink_to(folder.parent / "elsewhere")
    refused(folder, "leads out of the bundle's folder")


def test_a_bundle_behind_a_link(folder):
    (folder.parent / "link").symlink_to(folder)
    assert Bundle(folder.parent / "link").hash == Bundle(folder).hash


def test_a_manifest_that_lists_too_little(folder):
    known = manifest(folder)["files"]
    rewrite(folder, files={k: v for k, v in known.items() if k != "infer.onnx"})
    refused(folder, "lists no infer.onnx")
    rewrite(folder, provides=["batch", "step/extra"], files=known)
    refused(folder, "lists no step/extra.onnx")


@pytest.mark.parametrize(
    ("spoil", "pattern"),
    [
        (lambda v: v[:-1], "should be float32"),
        (lambda v: v.reshape(-1, 1), "should be float32"),
        (lambda v: v.astype(np.float64), "float64"),
        (lambda v: v * np.nan, "holds NaN or infinity"),
        (lambda v: v + np.inf, "holds NaN or infinity"),
        (None, "has no slot"),
    ],
)
def test_slots_that_do_not_match(folder, spoil, pattern):
    tensors = load_file(folder / "weights.safetensors")
    name = Bundle(folder).manifest.slots[0].name
    value = tensors.pop(name)
    if spoil:
        tensors[name] = spoil(value)
    resealed(folder, tensors)
    assert name in refused(folder, pattern)


def test_weights_that_are_no_safetensors(folder):
    header = json.dumps({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    for raw in (
        b"",
        b"\xff" * 8,
        b"\0" * 64,
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", len(header)) + header + b"\0\0",
    ):
        (folder / "weights.safetensors").write_bytes(raw)
        resealed(folder)
        refused(folder, "weights.safetensors")


# --- zipped bundles ---------------------------------------------------------------------------------


def zipped(folder, top="", method=zipfile.ZIP_DEFLATED):
    path = folder.parent / "model.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in FILES:
            archive.write(folder / name, top + name)
    return path


@pytest.mark.parametrize("top", ["", "model.tta/"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_good_zip(folder, top, method):
    opened = Bundle(zipped(folder, top, method))
    assert opened.hash == Bundle(folder).hash
    scratch = opened.path
    assert opened.graph("step/entropy").is_file()
    del opened
    assert not scratch.exists()


@pytest.fixture
def no_rest(tmp_path, monkeypatch):
    """Temporary folders are made here, and none may be left."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    yield
    assert list(scratch.iterdir()) == []


def test_a_zip_that_writes_elsewhere(folder, no_rest, tmp_path):
    for name in ("../evil", "../../evil", str(tmp_path / "evil"), "step/../../evil"):
        path = zipped(folder)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, "gotcha")
        refused(path, "leaves the bundle")
    assert not (tmp_path / "evil").exists() and not (tmp_path.parent / "evil").exists()


def test_a_zip_with_a_link(folder, no_rest):
    path = zipped(folder)
    link = zipfile.ZipInfo("step/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(path, "leaves the bundle")


def test_a_zip_that_is_too_large(folder, no_rest, monkeypatch):
    path = zipped(folder)
    monkeypatch.setattr(tta.bundle, "MAX_BYTES", 1 << 10)
    refused(path, "unpacks to more than")


def test_a_zip_that_lies_about_its_size(folder, no_rest):
    path = folder.parent / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", (folder / "manifest.json").read_bytes())
        archive.writestr("bomb", b"\0" * (1 << 20))
    raw = bytearray(path.read_bytes())
    size = struct.pack("<L", 1 << 20)
    assert raw.count(size) == 2
    path.write_bytes(raw.replace(size, struct.pack("<L", 100)))
    with pytest.raises(BundleError):
        Bundle(path)


def test_a_truncated_or_edited_zip(folder, no_rest):
    path, rng = zipped(folder), np.random.default_rng(2)
    good = path.read_bytes()
    for length in (0, 10, len(good) // 2, len(good) - 30, len(good) - 1):
        path.write_bytes(good[:length])
        with pytest.raises(BundleError):
            Bundle(path)
    for place in rng.integers(0, len(good), 60).tolist():
        bad = bytearray(good)
        bad[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        try:
            opened = Bundle(path)
        except BundleError as error:
            assert "\n" not in str(error)
        else:  # a time stamp or an attribute
            assert opened.hash == Bundle(folder).hash
            del opened


def test_an_encrypted_zip(folder, no_rest):
    path = zipped(folder, method=zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := raw.find(signature, start)) >= 0:
            raw[start + flags] |= 1
            start += 4
    path.write_bytes(raw)
    refused(path, "encrypted")


def test_a_zip_with_two_bundles_or_none(folder, no_rest):
    path = folder.parent / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/manifest.json", "{}")
        archive.writestr("b/manifest.json", "{}")
    refused(path, "holds 2 manifest.json")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("deep/er/manifest.json", "{}")
    refused(path, "holds 0 manifest.json")


def test_a_zip_whose_bundle_is_bad(folder, no_rest):
    (folder / "infer.onnx").write_bytes(b"other")
    refused(zipped(folder), "infer.onnx is not the file")
