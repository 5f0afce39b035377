"""Does the governor do no harm? ``python -m tests.bench.no_harm BUNDLE DATA --out FOLDER``.

What ``tta run`` takes where nothing is named, under every protocol of ``tta evaluate``, each frame answered
at once, against the source model on the same frames. Prints a row a cell:

- harm in points of error (below zero it helps), with its one-sided 95 % upper bound: images are the units,
  each with all its appearances under all seeds, since seeds reorder the same images; or clips;
- the worst window of 1,000 frames in a row, and the share of such windows that are below the source model;
- with ``--single``, the best of the methods alone (served by batches, no governor);

and below, in how many cells harm above the tolerance is shown (normal approximation, Holm's correction over
the matrix), and what share of the best single method's gain is kept, pooled over cells with more than 2.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tta.evaluation.cell import Material, evaluate
from tta.evaluation.paired import holm
from tta.records import Array

PROTOCOLS = (
    "reset", "continual", "gradual", "mixed", "recurring:5", "correlated:0.1", "correlated:0.01",
    "correlated:sorted", "diurnal:3", "few_classes:3", "clean", "unseen:0.5", "ends",
)  # fmt: skip
WINDOW = 1000  # frames
GAINS = 2.0  # points of a single method from which on what is kept of them counts


def clustered(harm: Array, unit: Array) -> tuple[float, float]:
    """Mean ``(n,)`` and its standard error where the values of one unit stand or fall together."""
    mean = float(harm.mean())
    sums = np.bincount(np.unique(unit, return_inverse=True)[1], harm - mean)
    return mean, float(np.sqrt(np.square(sums).sum()) / len(harm))


def exceeding(mean: float, error: float, tolerance: float) -> float:
    """One-sided p-value that the true mean is not above the tolerance."""
    if error == 0:
        return 1.0 if mean <= tolerance else 0.0
    return 0.5 * math.erfc((mean - tolerance) / error / math.sqrt(2))


def windows(harm: Array, length: int = WINDOW) -> Array:
    """Mean harm of every ``length`` frames in a row; of all of them where there are fewer."""
    length = min(length, len(harm))
    total = np.concatenate([[0.0], np.cumsum(harm, dtype=np.float64)])
    return (total[length:] - total[:-length]) / length


def harms(images: dict[str, Array]) -> tuple[Array, Array]:
    """Harm of each labelled frame in points, -100, 0 or 100, and the unit it belongs to."""
    known = images["label"] >= 0
    wrong = {k: images[k][known] != images["label"][known] for k in ("pre", "frozen")}
    unit = images.get("clip", images["item"])[known]
    return 100.0 * (wrong["pre"].astype(float) - wrong["frozen"]), unit


def cell(
    material: Material, protocol: str, seeds: Sequence[int], folder: Path, **options: object
) -> list[dict[str, Array]]:
    """Images of a cell by seed, kept in the folder."""
    found = []
    for seed in seeds:
        name = "-".join(str(v) for v in (protocol, *options.values(), seed))
        path = folder / f"{''.join(c if c.isalnum() or c in '.-' else '_' for c in name)}.npz"
        if not path.exists():
            made = evaluate(material, protocol, seed=seed, brief=True, **options)  # type: ignore[arg-type]
            np.savez(path, **made.images)
        with np.load(path) as kept:
            found.append(dict(kept))
    return found


def main() -> None:
    """Run what is missing, and print the matrix."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle")
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=700)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--protocols", default=",".join(PROTOCOLS))
    parser.add_argument("--corruptions", default="all")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tolerance", type=float, default=0.5, help="points of harm")
    parser.add_argument("--single", default="", help="methods to compare with, a,b")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    from tta.bundle import Bundle

    material = Material(Bundle(given.bundle), given.data, given.limit)
    seeds = [int(s) for s in given.seeds.split(",")]
    singles = [s for s in given.single.split(",") if s]
    rows = []
    for protocol in given.protocols.split(","):
        common = {"batch": given.batch, "corruptions": given.corruptions}
        runs = cell(
            material, protocol, seeds, given.out,
            adapter="auto", serve="stream", governor="auto", **common,
        )  # fmt: skip
        pairs = [harms(run) for run in runs]
        harm, unit = (np.concatenate(part) for part in zip(*pairs))
        mean, error = clustered(harm, unit)
        worst = [windows(h) for h, _ in pairs]
        best: dict[str, float] = {}
        for name in singles:
            alone = cell(
                material, protocol, seeds, given.out,
                adapter=name, serve="batch", governor="always", **common,
            )  # fmt: skip
            best[name] = -float(np.concatenate([harms(run)[0] for run in alone]).mean())
        rows.append(
            {
                "protocol": protocol,
                "frames": len(harm),
                "frozen": float(100 * np.mean([np.mean(r["frozen"] != r["label"]) for r in runs])),
                "harm": mean,
                "bound": mean + 1.645 * error,
                "p": exceeding(mean, error, given.tolerance),
                "window": max(float(w.max()) for w in worst),
                "below": 100 * float(np.concatenate(worst).__gt__(0).mean()),
                "single": best,
            }
        )
        print(line(rows[-1]), flush=True)
    corrected = holm([r["p"] for r in rows])
    kept = [r for r in rows if r["single"] and max(r["single"].values()) > GAINS]
    print(f"\nmean over cells {np.mean([r['harm'] for r in rows]):+.2f}, worst cell "
          f"{max(r['harm'] for r in rows):+.2f}; harm above {given.tolerance:g} shown in "
          f"{sum(p < 0.05 for p in corrected)} of {len(rows)} cells, bound above it in "
          f"{sum(r['bound'] > given.tolerance for r in rows)}")  # fmt: skip
    if kept:
        share = sum(-r["harm"] for r in kept) / sum(max(r["single"].values()) for r in kept)
        print(
            f"of the best single method's gain, {100 * share:.0f} % is kept over {len(kept)} cells"
        )
    (given.out / "no_harm.json").write_text(json.dumps(rows, indent=1))


def line(row: dict[str, object]) -> str:
    """A row of the table."""
    alone = row["single"]
    assert isinstance(alone, dict)
    best = max(alone, key=alone.__getitem__, default="")
    told = f"{best} {alone[best]:+.1f}" if best else "-"
    return (
        f"| {row['protocol']} | {row['frames']:,} | {row['frozen']:.1f} | {row['harm']:+.2f} | "
        f"{row['bound']:+.2f} | {row['window']:+.1f} | {row['below']:.1f} | {told} |"
    )


if __name__ == "__main__":
    main()
