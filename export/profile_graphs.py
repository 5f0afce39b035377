"""Graphs that serve frames without folding: ``infer/inputs``, ``infer/affine`` and ``infer/factors``.

``infer/inputs`` is the model with every slot as an input. ``infer/affine`` folds each norm layer at its
source statistics and puts the rest behind it as z·mul + add, for providers that take norms only as constants.
``infer/factors`` says what mul and add are for given slots; with the source's μ and σ² in z,

    mul = scale·√((σ² + ε)/(σ'² + ε)),    add = bias + scale·(μ - μ')/√(σ'² + ε),

and plainly scale and bias for norms that take their statistics from each sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from tta.bundle import Bundle
from tta.errors import ExportError, MismatchError
from tta.export.forward import Forward, layer_kind
from tta.export.infer_graph import _Infer
from tta.export.layers import Norm, along
from tta.export.layers.hebbian import Hebbian, HebbianModulation
from tta.export.lift import Lifted
from tta.export.operators import Operators
from tta.manifest import PROFILES
from tta.records import Array, Role
from tta.runtime.provider import NAMES
from tta.runtime.session import InferSession

TOLERANCE = 1e-3  # of the largest output: folding rounds
DEFAULT = {"cpu": "refold"}


def profiles(text: str) -> dict[str, str]:
    """How slots reach each execution provider, from ``cpu:refold,tensorrt:affine``.

    Raises:
        ExportError: not of that form, or an unknown provider or profile.

    >>> profiles("tensorrt:affine")
    {'cpu': 'refold', 'tensorrt': 'affine'}
    """
    pairs: list[tuple[str, str]] = []
    for item in text.split(","):
        provider, _, profile = item.strip().partition(":")
        pairs.append((provider, profile))
    found = checked(dict(pairs))
    if len(found) < len(pairs):
        raise ExportError(
            "--ep gives one provider several profiles, but one is how its slots arrive"
        )
    return {**DEFAULT, **found}


def checked(chosen: Mapping[str, str]) -> dict[str, str]:
    """Profiles by provider, all of them known.

    Raises:
        ExportError: an unknown provider or profile.
    """
    for provider, profile in chosen.items():
        if provider not in NAMES or profile not in PROFILES:
            given = f"{provider}:{profile}" if profile else provider
            raise ExportError(
                f"--ep is provider:profile,... with providers {', '.join(NAMES)} and profiles "
                f"{', '.join(PROFILES)}, but got {given!r}"
            )
    return dict(chosen)


def profile_graphs(lifted: Lifted, chosen: Mapping[str, str]) -> dict[str, ir.Model]:
    """The graphs that those profiles need beside ``infer``."""
    graphs = {}
    if "inputs" in chosen.values():
        inputs = _Inputs(lifted)
        outputs = inputs.run()
        functions = list(inputs.functions.values())
        graphs["infer/inputs"] = inputs.op.model(outputs, "infer_inputs", functions)
    if "affine" in chosen.values():
        affine = _Affine(lifted)
        graphs["infer/affine"] = affine.op.model(affine.run(), "infer_affine")
        graphs["infer/factors"] = _factors(lifted)
    return graphs


def check_profiles(bundle: Bundle, batch: Array) -> None:
    """Compare each profile with refolding, at slot values away from the source.

    Raises:
        MismatchError: one answers differently.
    """
    rng, slots = np.random.default_rng(0), dict(bundle.source_slots)
    for slot in bundle.manifest.named(
        "scale", "bias", "mean", "var", "square", "feature_shift", "head_bias"
    ):
        value = slots[slot.name]
        size = 0.1 * float(np.abs(value).mean()) + 1e-3
        moved = value + rng.normal(0, size, value.shape)
        slots[slot.name] = np.float32(np.abs(moved) if slot.role in ("var", "square") else moved)
    want = InferSession(bundle, slots, profile="refold").run(batch)
    for profile in ("inputs", "affine"):
        if f"infer/{profile}" not in bundle.manifest.provides:
            continue
        got = InferSession(bundle, slots, profile=profile).run(batch)
        for name, value in want.items():
            error = float(np.abs(got[name] - value).max()) / max(1.0, float(np.abs(value).max()))
            if not error <= TOLERANCE:
                raise MismatchError(
                    f"output {name!r} of infer/{profile}.onnx differs from infer.onnx by {error:.2e} "
                    f"(allowed {TOLERANCE:.0e}) for other slot values"
                )


@dataclass
class _Inputs(_Infer):
    """As ``infer.onnx``, with slots as inputs."""

    slots: dict[str, ir.Value] = field(default_factory=dict)

    def slot(self, name: str) -> ir.Value:
        if name not in self.slots:
            self.slots[name] = self.op.input(name, np.float32, self.lifted.values[name].shape)
        return self.slots[name]


@dataclass
class _Affine(Forward):
    """Norms at their source statistics, each followed by a product and a sum with inputs."""

    slots: dict[str, ir.Value] = field(default_factory=dict)

    def slot(self, name: str) -> ir.Value:
        if name.endswith(".weight") and any(
            name == f"{layer.name}.weight" for layer in self.lifted.hebbian.values()
        ):  # such providers want the kernels of convolutions constant
            return self._constant(name)
        if name not in self.slots:
            self.slots[name] = self.op.input(name, np.float32, self.lifted.values[name].shape)
        return self.slots[name]

    def _constant(self, name: str) -> ir.Value:
        return self.op.weight(name, ir.tensor(self.lifted.values[name], name=name))

    def _norm(self, norm: Norm, x: ir.Value) -> ir.Value:
        op, size = self.op, norm.slots["scale"].shape
        one, zero = op.constant(np.ones(size, np.float32)), op.constant(np.zeros(size, np.float32))
        fixed: dict[Role, ir.Value] = {"scale": one, "bias": zero}
        for role in norm.slots:
            if role in ("mean", "var", "square"):
                fixed[role] = self._constant(f"{norm.name}.{role}")
        z = layer_kind(norm.kind).infer(op, norm, x, fixed)
        z.shape = z.shape or x.shape or norm.x.shape
        mul, add = (op.input(f"{norm.name}.{k}", np.float32, size) for k in ("mul", "add"))
        if "axis" in norm.attributes:  # over the last axes, as layer norms are
            return op.Add(op.Mul(z, mul), add)
        return op.Add(op.Mul(z, along(op, mul, z, 1)), along(op, add, z, 1))

    def _hebbian(self, layer: Hebbian) -> ir.Value:
        return self._linear(layer, self.slot(f"{layer.name}.weight"))

    def _modulate(self, layer: Hebbian, z: ir.Value) -> ir.Value:
        gain, shift = (self.slot(f"{layer.name}.{k}") for k in ("gain", "shift"))
        z.shape = z.shape or layer.modulated.shape
        return HebbianModulation.modulate(self.op, layer, z, gain, shift)


def _factors(lifted: Lifted) -> ir.Model:
    """Slots of norms to the factors of ``infer/affine``; runs once a commit, on the CPU."""
    op = Operators()
    outputs: dict[str, ir.Value] = {}
    for norm in lifted.norms.values():
        given = {
            role: op.input(f"{norm.name}.{role}", np.float32, value.shape)
            for role, value in norm.slots.items()
        }
        mul = given["scale"]
        add = given.get("bias") or op.constant(np.zeros(norm.slots["scale"].shape, np.float32))
        spread: Role = "square" if "square" in given else "var"
        if spread in given:
            epsilon = np.float32(norm.attributes["epsilon"])
            r = op.Div(given["scale"], op.Sqrt(op.Add(given[spread], epsilon)))
            mul = op.Mul(r, np.sqrt(norm.slots[spread] + epsilon))
        if "mean" in given:
            add = op.Add(add, op.Mul(r, op.Sub(norm.slots["mean"], given["mean"])))
        outputs[f"{norm.name}.mul"] = op.Identity(mul)
        outputs[f"{norm.name}.add"] = op.Identity(add)
    return op.model(outputs, "factors")
