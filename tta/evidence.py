"""What a proposed state says of frames that it has not learned from, beside what the source says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tta.manifest import Manifest
from tta.records import Array, Step
from tta.tasks import Task, of

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
        frozen_log_p: log-probabilities ``(m, K)`` of all decisions of the frames: one a frame of a
        classifier, one
            a position of a segmenter; ``(n, 0)`` of a model without class scores.
        adapted_log_p: likewise, as the method would answer.
        frozen_features: penultimate, ``(n, D)``.
        adapted_features: likewise.
        frozen_used: how its answers are spread over the classes ``(K,)``; empty without class scores.
        adapted_used: likewise.
        frozen_confidence: ``(n,)``, nan where an answer has none.
        agreement: of the two answers to each frame ``(n,)``, as the task has it; 1 where they are the same.
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
    frozen_used: Array
    adapted_used: Array
    frozen_confidence: Array
    agreement: Array
    learned: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frozen_features)

    @property
    def classes(self) -> int:
        """Number of classes of each decision, 0 where the model gives no class scores."""
        return int(self.frozen_log_p.shape[1])


def evidence(
    manifest: Manifest,
    frozen: Step,
    adapted: Step,
    slots: Mapping[str, Array],
    source: Mapping[str, Array],
    answered: Array | None = None,
    task: Task | None = None,
) -> Evidence:
    """The evidence of two steps on the same frames.

    Args:
        manifest: names task and outputs.
        frozen: under the source slots.
        adapted: under the proposed slots.
        slots: the proposed slots.
        source: the source slots.
        answered: probabilities ``(n, K)`` where the method changes the model's own answers.
        task: how outputs read; by default made from the manifest alone.
    """
    task = of(manifest, {}) if task is None else task
    n = len(frozen.outputs[manifest.primary])
    learned = {s.name: s.layer for s in manifest.slots if s.role not in STATISTICS}
    old, new = (np.asarray(step.outputs[manifest.primary]) for step in (frozen, adapted))
    before, after = task.log_p(old), task.log_p(new)
    used = task.used(old), task.used(new)
    agreement = task.agreement(old, new)
    if answered is not None:
        after = np.log(np.asarray(answered, np.float64) + 1e-12)
        used = used[0], np.exp(after).mean(0)
        agreement = (before.argmax(1) == after.argmax(1)).astype(float)
    features = (_features(frozen, n), _features(adapted, n))
    sure = task.confidence(old)
    return Evidence(
        frozen, adapted, slots, source, before, after, *features, *used, sure, agreement, learned
    )


def _features(step: Step, n: int) -> Array:
    found = step.outputs.get("features")
    return np.zeros((n, 0)) if found is None else np.asarray(found, np.float64).reshape(n, -1)
