"""Execution providers of onnxruntime by short names, and how slots reach each of them.

===========  =====================================================================================
profile      how a state's slots reach the session
===========  =====================================================================================
``refold``   as weights: onnxruntime folds them into convolutions; a commit builds a new session
``inputs``   as inputs of every run: a commit costs nothing, a frame somewhat more
``affine``   norms folded at the source, and a Mul and an Add with inputs behind each: for providers that
             take norms only as constants and are slow to build (TensorRT)
===========  =====================================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import onnxruntime as ort

from tta.errors import NotFoundError, TtaError
from tta.manifest import PROFILES, Manifest

Profile = Literal["refold", "inputs", "affine"]
NAMES: Mapping[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}
_SHORT = {full: short for short, full in NAMES.items()}
assert set(get_args(Profile)) == set(PROFILES)


def full_name(name: str) -> str:
    """Onnxruntime's name of a provider, from that or the short one.

    Raises:
        NotFoundError: neither.

    >>> full_name("tensorrt")
    'TensorrtExecutionProvider'
    """
    if name in _SHORT:
        return name
    if name.lower() in NAMES:
        return NAMES[name.lower()]
    raise NotFoundError(f"no execution provider named {name!r}; known: {', '.join(NAMES)}")


def present(providers: Sequence[Any] | None) -> list[Any]:
    """The providers that this onnxruntime has, in order; the CPU if none were asked for.

    Args:
        providers: names, or ``(name, options)`` as onnxruntime has them.

    Raises:
        TtaError: it has none of them.
    """
    asked = list(providers or ["cpu"])
    named = [(full_name(p), None) if isinstance(p, str) else (full_name(p[0]), p[1]) for p in asked]
    have = ort.get_available_providers()
    found = [
        name if options is None else (name, options) for name, options in named if name in have
    ]
    if not found:
        missing = ", ".join(name for name, _ in named)
        raise TtaError(
            f"this onnxruntime has no {missing}, only {', '.join(have)}: install the onnxruntime package "
            "that brings it, or run on the CPU"
        )
    return found


def profile_of(profiles: Mapping[str, str], provider: Any) -> str:
    """How slots reach sessions of that provider; ``refold`` where the bundle does not say.

    >>> profile_of({"tensorrt": "affine"}, "TensorrtExecutionProvider")
    'affine'
    """
    name = provider if isinstance(provider, str) else provider[0]
    return profiles.get(_SHORT.get(name, name), "refold")


def model_options(given: Any, device: Any, manifest: Manifest) -> dict[str, Any]:
    """Options of ``Model`` from the command line's words and the device profile.

    What the command line says wins, then the bundle, then the device.
    """
    providers = given.provider or list(device.providers)
    first = present(providers)[0]  # those that are absent have no say
    name = first if isinstance(first, str) else first[0]
    asked = [full_name(p) for p in given.provider or ()]
    if absent := [p for p in asked if p not in ort.get_available_providers()]:
        print(f"this onnxruntime has no {', '.join(absent)}: {name} serves", file=sys.stderr)  # noqa: T201
    known = _SHORT.get(name, name) in manifest.ep_profiles
    return {
        "providers": providers,
        "profile": given.ep_profile or (None if known else device.ep_profile),
        # at a duty nothing runs beside inference, so nobody is hurt by threads that wait awake
        "spinning": device.threads.spinning or given.duty is not None,
        "adapt_threads": device.threads.adaptation,
        "memory_mib": given.memory_mib or device.budget.memory_mib,
    }
