"""Some frames show nothing that the model knows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tta.evaluation.protocols import Setting, Visit, visit


class Unseen:
    """``unseen:0.5``: one visit a corruption from the source; such a share of its frames is of no class.

    These are items of the same data cut up, 4x4 patches of an image or 8 stretches of a window in random
    order: the same sensor and the same corruption, but no object. They have no label and count in no
    error; the method sees them and is not told. Every image comes once besides; in brief the whole visit
    has as many frames as there are images.

    Known and foreign frames mixed under one corruption are the open-set setting of Li and Shelhamer, "A
    closer look at in-distribution vs. out-of-distribution accuracy for open-set test-time adaptation",
    TMLR 2026 (only its abstract was read). They take foreign data sets; cut-up items are our departure,
    since every data set has them.
    """

    resets = "before each visit"
    takes = "SHARE above 0 and below 1"

    def __init__(self, share: str = "0.5") -> None:
        self.share = float(share)
        if not 0 < self.share < 1:
            raise ValueError(share)

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """See ``EvaluationProtocol``."""
        n = setting.images
        known = max(1, round(n * (1 - self.share))) if setting.brief else n
        foreign = max(1, round(known * self.share / (1 - self.share)))
        for k, corruption in enumerate(setting.corruptions):
            rng = np.random.default_rng([setting.seed, k, 2])
            rounds = [rng.permutation(n) for _ in range(-(-foreign // n))]
            cut = n + np.concatenate(rounds)[:foreign]
            items = rng.permutation(np.concatenate([setting.items(k)[:known], cut]))
            yield visit(items, corruption, setting.severity, True)
