"""Day and night return, and nothing ever changes abruptly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tta.evaluation.protocols import Setting, Visit
from tta.simulation.schedules.diurnal import Diurnal as Day

BEGINS = 6  # hour of the first frame: the sun rises
PARTS = ("morning", "afternoon", "evening", "night")


class Diurnal:
    """``diurnal:3``: so many days in the light, noise, colour and label mix of their hours, never a reset.

    The light is that of ``sim://…&schedule=diurnal`` at the full hour. Each image comes once a day, at an
    hour drawn as often as the schedule has frames of its class then: few by night, and each class at its
    hours. A row is a quarter of a day. Corruptions play no part.
    """

    resets = "never"
    takes = "DAYS, at least 1"

    def __init__(self, days: str = "3") -> None:
        self.days = int(days)
        if self.days < 1:
            raise ValueError(days)

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """See ``EvaluationProtocol``."""
        day, hours = Day("0"), (np.arange(24) + BEGINS) % 24
        t_s = 3600.0 * hours
        classes = int(setting.labels.max()) + 1
        often = np.stack([day.frequency(t_s, np.array(k), classes) for k in range(classes)])
        often = often * day.event_rate(t_s)
        ends = np.cumsum(often / often.sum(1, keepdims=True), axis=1)[:, :-1]
        changes = tuple(f"{hour:02}:00" for hour in hours)
        began = False
        for number in range(self.days):
            items = setting.items(number)
            drawn = np.random.default_rng([setting.seed, number, 3]).random(len(items))
            place = (drawn[:, None] >= ends[setting.labels[items]]).sum(1)
            order = np.argsort(place, kind="stable")
            for k, part in enumerate(PARTS):
                mine = order[place[order] // 6 == k]
                if mine.size:
                    name = f"{part} of day {number + 1}"
                    yield Visit(items[mine], changes, place[mine], 0, not began, name)
                    began = True
