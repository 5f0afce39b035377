"""A camera that sees few of the classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tta.errors import TtaError
from tta.evaluation.protocols import Setting, Visit, visit


class FewClasses:
    """``few_classes:3``: one visit a corruption from the source, with images of so many classes only."""

    resets = "before each visit"
    takes = "CLASSES, at least 1"

    def __init__(self, classes: str = "3") -> None:
        self.classes = int(classes)
        if self.classes < 1:
            raise ValueError(classes)

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """See ``EvaluationProtocol``.

        Raises:
            TtaError: the data have fewer classes.
        """
        known = np.unique(setting.labels[: setting.images])
        if len(known) < self.classes:
            raise TtaError(
                f"few_classes:{self.classes} needs as many classes, but the {setting.images} images have "
                f"{len(known)}: ask for fewer classes, or more images"
            )
        for k, corruption in enumerate(setting.corruptions):
            rng = np.random.default_rng([setting.seed, k, 1])
            chosen = rng.choice(known, self.classes, replace=False)
            items = setting.items(k)
            mine = items[np.isin(setting.labels[items], chosen)]
            yield visit(mine, corruption, setting.severity, True)
