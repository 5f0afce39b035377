"""Each shift comes and goes by degrees."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tta.errors import TtaError
from tta.evaluation.protocols import Setting, Visit, visit


class Gradual:
    """Severities 1, 2, ... to the largest and back to 1 for each corruption, never a reset.

    The images of a corruption are shared out over its severities. Wang et al., "Continual test-time domain
    adaptation", CVPR 2022, table 3.
    """

    resets = "never"

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """See ``EvaluationProtocol``.

        Raises:
            TtaError: there are fewer images than steps of severity.
        """
        up = list(range(1, setting.severity + 1))
        levels = up + up[-2::-1]
        if setting.images < len(levels):
            raise TtaError(
                f"gradual shares out the images over {len(levels)} steps of severity, but there are "
                f"{setting.images}: take more images, or a smaller --severity"
            )
        for k, corruption in enumerate(setting.corruptions):
            parts = np.array_split(setting.items(k), len(levels))
            for j, (level, items) in enumerate(zip(levels, parts)):
                yield visit(items, corruption, level, k == j == 0, f"{corruption} {level}")
