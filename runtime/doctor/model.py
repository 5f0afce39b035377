"""Whether the bundle's graphs suit the providers that would run them: how slots reach each session."""

from __future__ import annotations

from collections.abc import Iterator

import onnxruntime as ort

from tta.devices.finding import Finding, Subject, fail, ok, warn
from tta.runtime.doctor._bundle import opened
from tta.runtime.provider import NAMES, profile_of

_SLOW_TO_BUILD = ("tensorrt", "qnn")
_SHORT = {full: short for short, full in NAMES.items()}


def check(subject: Subject) -> Iterator[Finding]:
    """One line a provider that would serve."""
    bundle = opened(subject)
    if bundle is None:
        return
    manifest = bundle.manifest
    have = ort.get_available_providers()
    moving = [n for n, kind in manifest.layers.items() if "hebbian" in kind or "nhl" in kind]
    moving += [s.layer for s in manifest.slots if s.role == "weight" and s.layer not in moving]
    for provider in [p for p in subject.profile.providers if p in have]:
        short = _SHORT.get(provider, provider)
        known = short in manifest.ep_profiles
        profile = (
            profile_of(manifest.ep_profiles, provider) if known else subject.profile.ep_profile
        )
        if profile != "refold" and f"infer/{profile}" not in manifest.provides:
            yield fail(
                f"{short} is served by the profile {profile}, for which this bundle has no graph",
                f"export it again with --ep {short}:{profile}, or serve it with --ep-profile refold",
            )
        elif profile == "refold" and short in _SLOW_TO_BUILD:
            yield warn(
                f"{short} builds an engine for each session, and this bundle needs one for each commit",
                f"export it again with --ep {short}:affine, or serve it on cuda or cpu",
            )
        elif profile == "affine" and moving:
            yield warn(
                f"{short} keeps {len(moving)} layers constant that this model can move: {moving[0]} …",
                "take an adapter that changes norms only (bn_stats, tent), or serve it on cuda or cpu",
            )
        else:
            yield ok(f"{short}: slots reach it by {profile}")
