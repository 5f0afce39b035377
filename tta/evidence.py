"""What a proposed state says of frames that it has not learned from, beside what the source says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tta.categorical import log_softmax
from tta.manifest import Manifest
from tta.records import Array, Step

STATISTICS = ("mean", "var", "square")  # roles that follow the stream as far as it goes


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two forwards of the same frames, none of which the proposal was made from.

    Checks on the batch that a step has just trained on are circular: a step that minimizes entropy has low
    entropy there, whatever it broke. So a proposal waits for frames that come after it.

    Attributes:
        frozen: the frames under the source slots, at alpha = 0.
        adapted: the frames under the proposed slots, at alpha = 0: as they would be served.
        slots: the proposed slots.
        source: the source slots.
        frozen_log_p: log-probabilities ``(n, K)`` of a classifier, ``(n, 0)`` otherwise.
        adapted_log_p: likewise, as the method would answer.
        frozen_features: penultimate, ``(n, D)``.
        adapted_features: likewise.
        learned: layer by slot, of the slots that are no running statistics.
    """

    frozen: Step
    adapted: Step
    slots: Mapping[str, Array]
    source: Mapping[str, Array]
    frozen_log_p: Array
    adapted_log_p: Array
    frozen_features: Array
    adapted_features: Array
    learned: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frozen_features)

    @property
    def classes(self) -> int:
        """Number of classes, 0 where the model is no classifier."""
        return int(self.frozen_log_p.shape[1])


def evidence(
    manifest: Manifest,
    frozen: Step,
    adapted: Step,
    slots: Mapping[str, Array],
    source: Mapping[str, Array],
    answered: Array | None = None,
) -> Evidence:
    """The evidence of two steps on the same frames.

    Args:
        manifest: names task and outputs.
        frozen: under the source slots.
        adapted: under the proposed slots.
        slots: the proposed slots.
        source: the source slots.
        answered: probabilities ``(n, K)`` where the method changes the model's own answers.
    """
    n = len(frozen.outputs[manifest.primary])
    learned = {s.name: s.layer for s in manifest.slots if s.role not in STATISTICS}
    before, after = (_log_p(manifest, step, n) for step in (frozen, adapted))
    if answered is not None:
        after = np.log(np.asarray(answered, np.float64) + 1e-12)
    features = (_features(frozen, n), _features(adapted, n))
    return Evidence(frozen, adapted, slots, source, before, after, *features, learned)


def _log_p(manifest: Manifest, step: Step, n: int) -> Array:
    if manifest.task != "classify":
        return np.zeros((n, 0))
    return log_softmax(step.outputs[manifest.primary].reshape(n, -1))


def _features(step: Step, n: int) -> Array:
    found = step.outputs.get("features")
    return np.zeros((n, 0)) if found is None else np.asarray(found, np.float64).reshape(n, -1)
