"""Recurrent layers: time is consumed step by step; samples pass by."""

from __future__ import annotations

from collections.abc import Mapping

from tta.export.axes import Axis, Call, Rule, Tensor, fresh, has_batch, tensor, title


def recurrent(call: Call) -> list[Tensor]:
    """LSTM, GRU and RNN: X ``(T, N, I)``, Y ``(T, directions, N, H)``, last states ``(directions, N, H)``.

    With ``layout=1`` the batch comes first in each of them.
    """
    x = call.x()
    first = call.get("layout", 0)
    samples, times = (x.axes[0], x.axes[1]) if first else (x.axes[1], x.axes[0])
    mixed = call.any_mixed() or has_batch(times) or has_batch(x.axes[2])
    made = []
    for shape in call.shapes:
        inner: list[Axis] = [samples]
        if len(shape) == 4:
            order = [samples, times, (), ()] if first else [times, (), samples, ()]
        else:
            order = [*inner, (), ()] if first else [(), *inner, ()]
        order[-1] = fresh(shape[-1], title(x.axes[2]) or "C")
        made.append(tensor(call, [a or fresh(n) for a, n in zip(order, shape)], mixed))
    return made


RULES: Mapping[str, Rule] = {"LSTM": recurrent, "GRU": recurrent, "RNN": recurrent}
