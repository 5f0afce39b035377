"""NHL-style: a soft Hebbian layer, steered by a neuro-modulator that entropy feedback trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tta.adapters.bn_stats import moving_averages
from tta.adapters.tent import Tent, _is_statistic
from tta.errors import TtaError
from tta.manifest import Manifest
from tta.momentum import Momentum
from tta.optimizers import check_kind, descend
from tta.protocols import Run
from tta.records import Array, State, Step


class Nhl:
    """Neuro-modulated Hebbian learning, after Tang et al., CVPR 2023 (arXiv 2303.00914).

    One step on a batch: the first layer's weights turn by the soft Hebbian rule, w → w' (formula in
    ``export/layers/hebbian.py``), the forward runs at w', and the gradient of the prediction entropy at w'
    trains the neuro-modulator. All of it is the one graph ``step/nhl``.

    The paper's text leaves choices open; here they are options, none of them claimed to be the authors':

    - ``mode``: ``first`` trains gain and shift behind the Hebbian layer; ``all`` the scale and bias of
      every norm, so that eta = 0 is Tent exactly;
    - ``anti``: anti-Hebbian losers (Journé et al., ICLR 2023) or not (Moraitis et al., 2022);
    - ``predict``: ``post`` answers with one more forward after the update, as in the paper's Fig. 2,
      ``pre`` with the logits from before the modulator's update;
    - ``normalize``: the change divided by its largest element (``max``) or by the number of patches
      (``mean``);
    - ``centre``: whether patches lose their own mean before they are learned from.

    The temperature 1/τ of each layer was calibrated at export; ``t_invert`` overrides it.
    Cost: Tent's step, two more passes over the first layer, and with ``post`` one forward.
    """

    needs = frozenset({"step/nhl", "batch"})
    hebbian = True
    asks = frozenset({"scores"})
    objective = staticmethod(Tent.objective)

    def __init__(
        self,
        eta: float = 1e-4,
        mode: Literal["first", "all"] = "all",
        anti: bool = False,
        predict: Literal["pre", "post"] = "post",
        normalize: Literal["max", "mean"] = "max",
        t_invert: float | None = None,
        centre: bool = False,
        lr: float = 1e-3,
        optimizer: str = "adam",
        sgd_momentum: float = 0.9,
        momentum: float = 0.1,
        alpha: float = 1.0,
        ghost: int = 0,
        tau_s: float | None = None,
    ) -> None:
        for name, value, known in (
            ("mode", mode, ("first", "all")),
            ("predict", predict, ("pre", "post")),
            ("normalize", normalize, ("max", "mean")),
        ):
            if value not in known:
                raise TtaError(f"nhl's {name} is one of {', '.join(known)}, but is {value!r}")
        self.eta, self.mode, self.anti, self.predict_with = eta, mode, anti, predict
        self.max_norm, self.t_invert, self.centre = normalize == "max", t_invert, centre
        self.lr, self.optimizer, self.sgd_momentum = lr, check_kind(optimizer), sgd_momentum
        self.momentum, self.alpha = Momentum(momentum, ghost, tau_s), alpha
        self._trained: tuple[str, ...] = ()

    def init(self, manifest: Manifest, slots: Mapping[str, Array]) -> State:
        """The source state with an empty optimizer."""
        return State(manifest.hash, "nhl", slots)

    def adapt(self, state: State, batch: Array, run: Run) -> tuple[State, Mapping[str, Array]]:
        """One Hebbian change and one optimizer step of the modulator."""
        inputs: dict[str, Any] = {} if self.t_invert is None else {"t_invert": self.t_invert}
        if self.centre:  # bundles of before that option have no such input
            inputs["centre"] = 1.0
        step = run(
            "step/nhl",
            batch,
            state.slots,
            alpha=self.alpha,
            eta=self.eta,
            anti=float(self.anti),
            max_norm=float(self.max_norm),
            **inputs,
        )
        after = self.update(state, step)
        if self.predict_with == "pre":
            return after, step.outputs
        return after, run("batch", batch, after.slots, alpha=self.alpha).outputs

    def update(self, state: State, step: Step) -> State:
        """The state with the Hebbian weights that the step used and the modulator after its step."""
        suffixes = (".gain", ".shift") if self.mode == "first" else (".scale", ".bias")
        chosen = {n: g for n, g in step.gradients.items() if n.endswith(suffixes)}
        slots, memory = descend(
            self.optimizer, state.slots, chosen, state.memory, self.lr, self.sgd_momentum
        )
        if self.eta:
            slots.update(step.new)
        memory.update(moving_averages(state, step.moments, self.momentum, step.span))
        slots.update({k.removeprefix("ema."): v for k, v in memory.items() if _is_statistic(k)})
        return state.child(slots, memory)
