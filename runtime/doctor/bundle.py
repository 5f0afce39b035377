"""The bundle: whole, untouched, of a schema that this version reads, calibrated."""

from __future__ import annotations

from collections.abc import Iterator

from tta.bundle import Bundle
from tta.devices.finding import Finding, Subject, fail, ok, warn
from tta.errors import BundleError
from tta.manifest import SCHEMA


def check(subject: Subject) -> Iterator[Finding]:
    """Opens it, which checks every file's sha256, and reads its calibration."""
    if subject.bundle is None:
        return
    try:
        bundle = Bundle(subject.bundle)
        bundle.calibration()
    except (BundleError, OSError) as error:
        text = str(error)
        if "upgrade tta-edge" in text:
            cure = "pip install -U tta-edge, or export the bundle again with this version"
        elif "no bundle at" in text or "no manifest.json" in text:
            cure = "name the folder or zip that tta export wrote"
        else:
            cure = "copy the bundle again from where it was exported; if it is so there too, tta export"
        yield fail(text, cure)
        return
    manifest = bundle.manifest
    yield ok(
        f"{manifest.name}: {len(manifest.files)} files whole, schema {manifest.schema} of {SCHEMA}, "
        f"{len(manifest.slots)} slots"
    )
    if not manifest.thresholds:
        yield warn(
            "the bundle was not calibrated: drift has no thresholds",
            "export it again with source samples: tta export ... --samples source.npz",
        )
