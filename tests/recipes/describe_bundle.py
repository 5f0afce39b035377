"""What a recipe prints of the bundle that it made."""

from tta.export.assembly import Exported


def say(exported: Exported, samples: int) -> None:
    """Size, checks, thresholds and defaults."""
    bundle = exported.bundle
    size = sum(f.stat().st_size for f in bundle.path.rglob("*") if f.is_file())
    print(
        f"{bundle.path}: {size / 1e6:.2f} MB, {len(exported.checks)} checks passed, calibrated with "
        f"{samples} samples"
    )
    print(
        f"thresholds {dict(bundle.manifest.thresholds)}, defaults {dict(bundle.manifest.defaults)}"
    )
