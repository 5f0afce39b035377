"""All shifts at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tta.evaluation.protocols import Setting, Visit


class Mixed:
    """One visit in which each frame has one of the corruptions by chance: no batch has one domain.

    It holds as many frames as a visit to each corruption would. Marsden et al., "Universal test-time
    adaptation through weight ensembling, diversity weighting, and prior correction", WACV 2024, section 4.
    """

    resets = "never"

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """See ``EvaluationProtocol``."""
        rounds = [setting.items(k) for k in range(len(setting.corruptions))]
        items = np.concatenate(rounds)
        kinds = np.repeat(np.arange(len(rounds)), setting.images)
        order = np.random.default_rng([setting.seed, len(rounds)]).permutation(len(items))
        yield Visit(
            items[order], setting.corruptions, kinds[order], setting.severity, True, "mixed"
        )
