"""A drop-in for ``onnxruntime.InferenceSession`` that adapts behind ``run``.

One changed line makes a script adapt::

    from onnxruntime import InferenceSession        # before
    from tta import Session as InferenceSession     # after: give it bundle.tta or bundle.tta/infer.onnx
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.errors import FrameError, TtaError
from tta.governor import Mode
from tta.records import Array, Decision, State
from tta.runtime.session import check_batch
from tta.runtime.stream import Model, Stream


class Session:
    """Runs a bundle like an onnxruntime session, and adapts on what it is fed.

    Every ``run`` is answered by the committed state at the speed of the plain model; its frames join a
    buffer, and each full buffer is one adaptation step, taken before ``run`` returns. A feed with NaN or
    infinity is answered as onnxruntime would, counted in ``skipped``, and teaches nothing.

    Args:
        path: a bundle, its path, or the path of its ``infer.onnx``.
        sess_options: onnxruntime session options; their thread count is used.
        providers: accepted as onnxruntime has it; adaptation itself runs on the CPU.
        adapter: ``name?option=value``, or ``auto``, see ``tta.choice``; ``none`` turns adaptation off.
        batch: frames an adaptation step.
        governor: ``auto``, ``always`` or ``off``.
        state: state to start from.
    """

    def __init__(
        self,
        path: str | Path | Bundle,
        sess_options: Any = None,
        providers: Sequence[Any] | None = None,
        *,
        adapter: str = "auto",
        batch: int = 16,
        governor: Mode = "auto",
        state: State | None = None,
    ) -> None:
        bundle = path if isinstance(path, Bundle) else Bundle(path)
        threads = getattr(sess_options, "intra_op_num_threads", 0) or 1
        names = [p if isinstance(p, str) else p[0] for p in providers or ()]  # or (name, options)
        others = [name for name in names if name != "CPUExecutionProvider"]
        if others and len(others) == len(names):
            raise TtaError(
                f"only CPUExecutionProvider serves bundles today, not {', '.join(others)}"
            )
        if others:
            left_out = (
                f"{', '.join(others)} left out: only CPUExecutionProvider serves bundles today"
            )
            warnings.warn(left_out, RuntimeWarning, stacklevel=2)
        self._stream = Stream(
            Model(bundle, threads),
            adapter,
            batch=batch,
            governor=governor,
            state=state,
            buffer="batch",
        )
        self.skipped = 0
        self.last: Decision | None = None

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Array],
        run_options: Any = None,
    ) -> list[Array]:
        """Outputs for a batch ``(N, ...)``, as onnxruntime gives them.

        Args:
            output_names: outputs to return; None for all.
            input_feed: the input by name.
            run_options: passed to onnxruntime.
        """
        stream = self._stream
        found: list[Array] = stream.session.onnx.run(output_names, dict(input_feed), run_options)
        spec = stream.model.bundle.manifest.input
        batch = np.array(input_feed[spec.name])  # a copy: callers may refill their array
        try:
            check_batch(batch, spec.sample, spec.dtype)
        except FrameError:
            self.skipped += len(batch)
            return found
        for x in batch:
            stream.collect(x)
            if stream.waiting.due:
                self.last, _ = stream.adapt(stream.take())
        return found

    @property
    def state(self) -> State:
        """The state in force: a value, to keep or to save."""
        return self._stream.current

    def restore(self, state: State) -> None:
        """Serve a kept state."""
        self._stream.restore(state)

    def reset(self) -> None:
        """Back to the source model."""
        self._stream.restore(self._stream.origin)

    def __getattr__(self, name: str) -> Any:
        """All else (``get_inputs``, ``get_outputs``, ...) is the served onnxruntime session's."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._stream.session.onnx, name)
