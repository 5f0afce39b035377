"""A candidate of ``tta bench --vs torch``: the same adaptation in eager torch, in a process of its own.

Tent as its authors write it: norm layers that adapt run on batch statistics, Adam on their scales and biases
(Wang et al., ICLR 2021). ``bn_stats`` is one forward on batch statistics. The model comes from a file that
``save`` wrote, so building and preparing it counts neither for its start nor for its memory.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any, TextIO

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tta.errors import TtaError

NORMS = (_BatchNorm, torch.nn.LayerNorm, torch.nn.GroupNorm, torch.nn.InstanceNorm2d)


def save(factory: str, path: str, onnx: str) -> None:
    """Write the model that ``pkg.mod:factory`` makes: for ``Eager``, and as torch itself exports it."""
    module, _, function = factory.partition(":")
    made = getattr(importlib.import_module(module), function)()
    model, example = made[0].eval(), made[1][:1].clone()
    torch.save((model, example), path)
    torch.onnx.export(model, (example,), onnx, dynamo=True, external_data=False, verbose=False)


class Eager:
    """The model in torch; ``frame`` infers, ``step`` adapts."""

    def __init__(self, spec: dict[str, Any]) -> None:
        torch.set_num_threads(spec.get("threads", 1))
        self.model, example = torch.load(spec["model"], weights_only=False)
        self.sample = list(example.shape[1:])
        self.adapter = str(spec.get("adapter", "tent")).partition("?")[0]
        if self.adapter not in ("tent", "bn_stats"):
            raise TtaError(f"eager torch has tent and bn_stats, not {self.adapter}")
        norms = {n: m for n, m in self.model.named_modules() if isinstance(m, NORMS)}
        chosen = list(norms) if spec.get("layers") is None else spec["layers"]
        if missing := [name for name in chosen if name not in norms]:  # it would seem faster
            raise TtaError(
                f"eager torch has no norm layer {missing[0]!r} that the bundle adapts: name the factory that "
                "the bundle was exported from"
            )
        self.norms = [norms[name] for name in chosen]
        self.model.requires_grad_(False)
        parameters = [
            p for m in self.norms for p in (m.weight, getattr(m, "bias", None)) if p is not None
        ]
        for parameter in parameters:
            parameter.requires_grad_(self.adapter == "tent")
        self._optimizer = torch.optim.Adam(parameters, 1e-3)

    def frame(self, x: Any, now_s: float) -> None:
        """Infer one frame."""
        with torch.inference_mode():
            self.model(torch.from_numpy(x[None]))

    def step(self, batch: Any) -> None:
        """One step on a batch."""
        for norm in self.norms:
            norm.train()
        x = torch.from_numpy(batch)
        if self.adapter == "bn_stats":
            with torch.inference_mode():
                self.model(x)
        else:
            log_p = self.model(x).log_softmax(-1)
            loss = -(log_p.exp() * log_p).sum(-1).mean()
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
        for norm in self.norms:
            norm.eval()

    def rest(self) -> dict[str, float]:
        """Nothing is under way."""
        return {}


def main() -> None:
    """Be a candidate until told to end."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a model prints is no answer
    spec = json.loads(sys.argv[1])
    if "save" in spec:
        save(spec["factory"], spec["save"], spec["onnx"])
        print(json.dumps({"ready": True}), file=answers, flush=True)
        return
    made = Eager(spec)
    # what torch alone needs is up to here; onnxruntime, which the listener imports, comes after the answer
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(32, *made.sample)).astype(np.float32)
    made.frame(inputs[0], time.perf_counter())
    _listen(made, inputs, spec.get("batch", 1), answers)


def _listen(made: Eager, inputs: Any, batch: int, answers: TextIO) -> None:
    """As ``bench_child.listen``, without importing onnxruntime."""
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        what = command["do"]
        if what == "end":
            return
        if what == "memory":
            answer: dict[str, Any] = {
                "resident_mib": _status("VmRSS"),
                "peak_mib": _status("VmHWM"),
            }
        else:
            answer = {"cpu_ms": [], "wall_ms": []}
            for k in range(command.get("n", 1)):
                chosen = np.ascontiguousarray(np.roll(inputs, k, 0)[:batch])
                cpu, wall = time.process_time(), time.perf_counter()
                made.step(chosen) if what == "steps" else made.frame(chosen[0], wall)
                answer["cpu_ms"].append((time.process_time() - cpu) * 1e3)
                answer["wall_ms"].append((time.perf_counter() - wall) * 1e3)
        print(json.dumps(answer), file=answers, flush=True)


def _status(key: str) -> float:
    from tta.runtime import memory

    return memory._status(key)


if __name__ == "__main__":
    main()
