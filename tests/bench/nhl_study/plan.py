"""What is run, in order of worth, so that whatever time there is buys the most.

A part is a function of ``ask``, which runs a cell or says None where that is not allowed; the report asks in
the same way, and so shows what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.bench.nhl_study.cells import Cell, Result
from tests.bench.nhl_study.watch_splits import SPLITS

Ask = Callable[[Cell], Result | None]

CORRUPTIONS = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
SEARCHED, HELD_OUT = CORRUPTIONS[::2], CORRUPTIONS[1::2]  # fixed before anything was run
PHOTOGRAPHED = ("gaussian_noise", "defocus_blur", "fog", "contrast")  # one of each family
SEEDS = (0, 1, 2)
PROTOCOLS = ("reset", "continual")
MODELS = ("mobilenet_v2", "lite0")
ABLATED, SEARCH, ALL = 1000, 2000, 10000  # test images
PHOTOGRAPHS = 192
ETA = 1e-2  # of the ablations: smaller ones change nothing that can be measured
LAYERS = {  # other bundles than that with conv1 alone
    "resnet20-second": "layer1.0.conv1 instead of conv1",
    "resnet20-stage1": "conv1 and the six of stage 1",
}
_SHAM = "tests.bench.nhl_study.sham:Sham"


@dataclass(frozen=True)
class Row:
    """A line of a table: what it is called, how it is run, and whether after its update too."""

    label: str
    adapter: str
    post: bool = False


def sham(turn: str, eta: float, seed: int = 0, more: str = "") -> str:
    """The adapter that turns filters; ``more`` are further options, ``lr=0`` for filters alone."""
    return f"{_SHAM}?turn={turn}&eta={eta:g}&seed={seed}{'&' + more if more else ''}"


def nhl(**options: object) -> str:
    """The adapter nhl with outputs from before the update."""
    return "nhl?predict=pre" + "".join(f"&{k}={v}" for k, v in options.items())


def compared(seed: int) -> list[Row]:
    """The rows of the ablation that are run first; answers from after the update for the first seed alone."""
    return [
        Row("bn_stats", "bn_stats"),
        Row("tent", "tent", post=not seed),
        Row("nhl, all", nhl(eta=ETA), post=not seed),
        Row("Hebb only", sham("hebbian", ETA, 0, "lr=0")),
        Row("sham only, fresh", sham("fresh", ETA, seed, "lr=0")),
        Row("tent + sham, fresh", sham("fresh", ETA, seed)),
    ]


def further(seed: int) -> list[Row]:
    """The others."""
    return [
        Row("sham only, steady", sham("steady", ETA, seed, "lr=0")),
        Row("nhl, first", nhl(eta=ETA, mode="first")),
        Row("nhl, all, anti", nhl(eta=ETA, anti="true")),
        Row("Hebb only, anti", sham("hebbian", ETA, 0, "lr=0&anti=true")),
        Row("Hebb only, centred", sham("hebbian", ETA, 0, "lr=0&centre=true")),
    ]


def doses() -> list[tuple[str, float, str]]:
    """Turn, eta and adapter of the filters turned alone, by how far."""
    etas = (1e-3, ETA, 1e-1)
    turns = ("hebbian", "fresh", "steady")
    return [(turn, eta, sham(turn, eta, 0, "lr=0")) for eta in etas for turn in turns]


def ablation(row: Row, protocol: str, seed: int) -> Cell:
    """A cell of the ablation."""
    where = ("resnet20", "cifar10")
    return Cell(*where, row.adapter, protocol, CORRUPTIONS, ABLATED, 200, seed, row.post)


def identity(protocol: str) -> tuple[Cell, Cell]:
    """Tent, and nhl that must be tent bit for bit."""
    still = Row("nhl, all, eta = 0", nhl(eta=0))
    return ablation(compared(0)[1], protocol, 0), ablation(still, protocol, 0)


def same(ask: Ask, protocol: str) -> bool | None:
    """Whether every slot, logit and gradient of every step is the same, bit for bit.

    Raises:
        AssertionError: it is not, so nothing else that is measured here can be trusted.
    """
    tent, still = identity(protocol)
    ours, theirs = ask(still), ask(tent)
    if ours is None or theirs is None:
        return None
    if ours.digest != theirs.digest:
        raise AssertionError(f"nhl at eta = 0 is not tent under {protocol}")
    return True


def searched(adapter: str, bundle: str = "resnet20") -> Cell:
    """A trial."""
    return Cell(bundle, "cifar10", adapter, "reset", SEARCHED, SEARCH, 200)


@dataclass(frozen=True)
class Trial:
    """A trial of the search: the method, what is tried, its bundle and adapter, its error if known."""

    method: str
    what: str
    bundle: str
    adapter: str
    error: float | None


class Search:
    """One choice after another, the best so far kept; nothing is known of the other half.

    Attributes:
        trials: in the order they were made.
        best: by method, bundle and adapter; only those whose trials are all there.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask, self.trials = ask, list[Trial]()
        self.best: dict[str, tuple[str, str]] = {}
        bn = [("prior 0", "bn_stats")]
        bn += [(f"prior {n}", f"bn_stats?prior={n}") for n in (16, 64)]
        self._of("bn_stats", [(what, "resnet20", adapter) for what, adapter in bn])
        self._tent()

    def _of(self, method: str, tried: Sequence[tuple[str, str, str]]) -> bool:
        """Try all, keep the best; whether all are known."""
        for what, bundle, adapter in tried:
            result = self._ask(searched(adapter, bundle))
            error = None if result is None else result.error()
            self.trials.append(Trial(method, what, bundle, adapter, error))
        mine = [t for t in self.trials if t.method == method]
        if any(t.error is None for t in mine):
            self.best.pop(method, None)
            return False
        least = min(mine, key=lambda t: t.error or 0.0)  # the earlier of equal ones
        self.best[method] = (least.bundle, least.adapter)
        return True

    def _tent(self) -> None:
        rates = (1e-3, 3e-3, 1e-2)
        if not self._of("tent", [(f"lr {v:g}", "resnet20", f"tent?lr={v:g}") for v in rates]):
            return
        adapter = self.best["tent"][1]
        if self._of("tent", [("alpha 0.9", "resnet20", f"{adapter}&alpha=0.9")]):
            self._nhl(self.best["tent"][1].partition("?")[2])

    def _nhl(self, given: str) -> None:
        """From tent's best options on, one choice at a time."""
        options = dict(pair.split("=") for pair in given.split("&"))
        options["eta"] = f"{ETA:g}"
        bundle = "resnet20"
        if not self._of("nhl", [("as tent, eta 0.01", bundle, nhl(**options))]):
            return
        steps: list[list[tuple[str, str, dict[str, str]]]] = [
            [(what, b, {}) for b, what in LAYERS.items()],
            [("anti-Hebbian losers", "", {"anti": "true"})],
            [("centred patches", "", {"centre": "true"})],
            [(f"1/tau {v}", "", {"t_invert": f"{v}"}) for v in (0.85, 13.6)],
            [("divided by patches, eta 0.05", "", {"normalize": "mean", "eta": "0.05"})],
            [("mode first, lr 0.01", "", {"mode": "first", "lr": "0.01"})],
            [(f"eta times {v:g}", "", {"eta": f"*{v:g}"}) for v in (0.1, 3.0)],
        ]
        for choices in steps:
            base_bundle, base = self.best["nhl"]
            kept = dict(pair.split("=") for pair in base.partition("?")[2].split("&"))
            kept.pop("predict")
            tried = []
            for what, other, changed in choices:
                new = {**kept, **changed}
                if new["eta"].startswith("*"):
                    new["eta"] = f"{float(kept['eta']) * float(new['eta'][1:]):g}"
                tried.append((what, other or base_bundle, nhl(**new)))
            if not self._of("nhl", tried):
                return


def final(search: Search, seed: int) -> list[tuple[Row, Cell]]:
    """The held-out half on all images."""
    found = dict(search.best)
    rows = [Row("bn_stats", "bn_stats"), Row("tent", "tent")]
    where = {row.label: "resnet20" for row in rows}
    if "nhl" in found:
        for method in ("nhl", "tent", "bn_stats"):
            bundle, adapter = found[method]
            default = {"tent?lr=0.001": "tent"}.get(adapter, adapter)
            if default not in ("tent", "bn_stats"):
                rows.append(Row(f"{method}, searched", adapter))
                where[f"{method}, searched"] = bundle
    worth = ("nhl, searched", "tent, searched", "bn_stats", "tent", "bn_stats, searched")
    order = sorted(rows, key=lambda row: worth.index(row.label))
    return [
        (row, Cell(where[row.label], "cifar10", row.adapter, "reset", HELD_OUT, ALL, 200, seed))
        for row in order
    ]


def final_sham(search: Search, seed: int) -> list[tuple[Row, Cell]]:
    """The searched nhl with its Hebbian change put elsewhere; nothing where it trains a modulator."""
    bundle, adapter = search.best.get("nhl", ("", ""))
    options = dict(pair.split("=") for pair in adapter.partition("?")[2].split("&") if pair)
    if not bundle or options.pop("mode", "all") != "all":
        return []
    options.pop("predict")
    eta = float(options.pop("eta"))
    more = "&".join(f"{k}={v}" for k, v in options.items())
    found = []
    for turn in ("fresh", "steady"):
        row = Row(f"nhl, searched, sham {turn}", sham(turn, eta, seed, more))
        found.append((row, Cell(bundle, "cifar10", row.adapter, "reset", HELD_OUT, ALL, 200, seed)))
    return found


def photographs(model: str) -> list[tuple[Row, Cell]]:
    """One of the two ImageNet models on the photographs."""
    sgd = {"lr": "0.00025", "optimizer": "sgd"}
    rows = [
        Row("bn_stats", "bn_stats"),
        Row("bn_stats, prior 64", "bn_stats?prior=64"),
        Row("tent", "tent?" + "&".join(f"{k}={v}" for k, v in sgd.items())),
        Row("nhl, all", nhl(eta=ETA, **sgd)),
        Row("Hebb only", sham("hebbian", ETA, 0, "lr=0")),
        Row("sham only, fresh", sham("fresh", ETA, 0, "lr=0")),
    ]
    return [
        (row, Cell(model, "photographs", row.adapter, "reset", PHOTOGRAPHED, PHOTOGRAPHS, 64))
        for row in rows
    ]


def clean() -> list[tuple[Row, Cell]]:
    """Images as they are."""
    rows = [Row("bn_stats", "bn_stats"), Row("tent", "tent"), Row("nhl, all", nhl(eta=ETA))]
    where = ("resnet20", "cifar10")
    return [(row, Cell(*where, row.adapter, "clean", (), ABLATED, 200)) for row in rows]


def watch(split: str, protocol: str, seed: int) -> list[tuple[Row, Cell]]:
    """People or a wrist that the model has not seen."""
    rows = [
        Row("bn_stats", "bn_stats"),
        Row("bn_stats, prior 64", "bn_stats?prior=64"),
        Row("tent", "tent", post=True),
        Row("nhl, all", nhl(eta=ETA), post=True),
        Row("Hebb only", sham("hebbian", ETA, 0, "lr=0")),
        Row("sham only, fresh", sham("fresh", ETA, seed, "lr=0")),
    ]
    return [
        (row, Cell(split, split, row.adapter, protocol, (), 10**6, 64, seed, row.post))
        for row in rows
    ]


def ablate(ask: Ask, protocol: str, seeds: Sequence[int], rows: Callable[[int], list[Row]]) -> None:
    """Cells of the ablation."""
    for seed in seeds:
        for row in rows(seed):
            ask(ablation(row, protocol, seed))


def everything(ask: Ask) -> Iterator[str]:
    """Run all parts in order of worth, the name of each before it begins."""
    yield "smartwatch"
    for split in SPLITS:
        for seed in SEEDS:
            for protocol in ("shuffled", "in time")[: 1 if seed else 2]:
                for _, cell in watch(split, protocol, seed):
                    ask(cell)
    for protocol in PROTOCOLS:
        yield f"ablation, {protocol}, first seed"
        ablate(ask, protocol, SEEDS[:1], compared)
    yield "clean images"
    for _, cell in clean():
        ask(cell)
    yield "search"
    search = Search(ask)
    yield "nhl at eta = 0"
    for protocol in PROTOCOLS:
        same(ask, protocol)
    yield "ablation, further rows, reset, first seed"
    ablate(ask, "reset", SEEDS[:1], further)
    yield "held-out half, first seed"
    for _, cell in final(search, 0):
        ask(cell)
    yield "photographs, mobilenet_v2"
    for _, cell in photographs("mobilenet_v2"):
        ask(cell)
    yield "ablation, reset, further seeds"
    ablate(ask, "reset", SEEDS[1:], compared)
    yield "photographs, lite0"
    for _, cell in photographs("lite0"):
        ask(cell)
    yield "ablation, continual, further seeds"
    ablate(ask, "continual", SEEDS[1:], compared)
    yield "ablation, further rows, continual, first seed"
    ablate(ask, "continual", SEEDS[:1], further)
    yield "held-out half, sham"
    for _, cell in final_sham(search, 0):
        ask(cell)
    yield "filters alone, by how far they turn"
    for _, _, adapter in doses():
        ask(ablation(Row("", adapter), "reset", 0))
    yield "ablation, further rows, further seeds"
    for protocol in PROTOCOLS:
        ablate(ask, protocol, SEEDS[1:], further)
    yield "held-out half, further seeds"
    for seed in SEEDS[1:]:
        for _, cell in final(search, seed):
            ask(cell)
