"""What source samples tell at export: source statistics, features, Fisher information, temperatures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tta.bundle import Bundle
from tta.moments import blend, distance
from tta.records import Array
from tta.runtime.session import AdaptSession
from tta.tasks import load

CHUNK = 64
PLACED = 16  # frames whose contributions are added up
BATCHES = (8, 16, 32, 64)
MIN_BATCHES = 4
MARGIN = 1.5
ONE_IN = 32  # batches: a share, for a largest value would grow with the number of samples
SIGMAS = 5.0
BISECTIONS = 16  # of seven decades: to 0.01 %
FISHER_SAMPLES = 512  # each is a step on one frame
WINNER = 0.7  # mean largest soft winner-take-all share that the temperature is set to


def statistics(
    bundle: Bundle, session: AdaptSession, samples: Array, targets: Array | None = None
) -> dict[str, Array]:
    """Moments of every norm layer's input and of the features on source samples.

    Args:
        bundle: the bundle under construction.
        session: its batch and step graphs.
        samples: preprocessed source samples ``(N, ...)``.
        targets: what the samples show, where it is known.

    Returns:
        ``mean.<layer>``, ``var.<layer>`` ``(C,)``; ``features.mean``, ``features.var`` ``(D,)``;
        ``entropy`` ``(N,)`` in nats where the model is a classifier; ``task.<name>`` what another task must
        know of the source.
    """
    found: dict[str, tuple[Array, Array]] = {}
    seen = 0.0
    features, entropy, answers = [], [], []
    for start in range(0, len(samples), CHUNK):
        batch = samples[start : start + CHUNK]
        step = session.run("batch", batch, bundle.source_slots, alpha=0.0)
        seen += len(batch)
        for layer, moments in step.moments.items():
            new = (moments.mean, moments.var)
            found[layer] = blend(found.get(layer, new), new, len(batch) / seen)
        features.append(step.outputs["features"].reshape(len(batch), -1))
        if bundle.manifest.task == "classify":
            entropy.append(entropy_of(step.outputs[bundle.manifest.primary]))
        elif "reference" in vars(load(bundle.manifest.task)):
            answers.append(step.outputs[bundle.manifest.primary])
    out: dict[str, Array] = {}
    for layer, (mean, var) in found.items():
        out[f"mean.{layer}"], out[f"var.{layer}"] = mean, var
    flat = np.concatenate(features).astype(np.float64)
    out["features.mean"] = flat.mean(0).astype(np.float32)
    out["features.var"] = flat.var(0).astype(np.float32)
    if entropy:
        out["entropy"] = np.concatenate(entropy)
    if answers:
        made = load(bundle.manifest.task).reference(np.concatenate(answers), targets)
        out |= {f"task.{name}": value for name, value in made.items()}
    return out


def usual_places(bundle: Bundle, session: AdaptSession, samples: Array) -> dict[str, Array]:
    """What source frames add to a shift of the statistics, place by place; c_nu as in ``explain_graph``.

    Source frames differ from the source statistics too, and where a convolution pads, all of them alike: at
    borders contributions add up without any shift. For a batch of N frames from the source,

        E|Σ_n c_nu|² = N·a_u + N(N - 1)·b_u,    a_u = E|c_nu|²,    b_u = |E c_nu|²

    Returns:
        ``explain.frame.<layer>`` a and ``explain.batch.<layer>`` b, in the shape of the layer's positions;
        empty where the bundle cannot be explained, or its inputs have no fixed size.
    """
    known = bundle.manifest
    if "explain/batch" not in known.provides or None in known.input.sample or len(samples) < 2:
        return {}
    sums: dict[str, list[Array]] = {}
    seen, pairs = 0, 0
    for start in range(0, len(samples), PLACED):
        batch = samples[start : start + PLACED]
        n = len(batch)
        outputs = session.run("explain/batch", batch, bundle.source_slots).outputs
        seen, pairs = seen + n, pairs + n * (n - 1)
        for layer in (s.layer for s in known.named("mean")):
            frame, whole = (
                sum(outputs[f"{what}.{layer}.{k}"].astype(np.float64) ** 2 for k in ("mean", "var"))
                for what in ("map", "place")
            )
            old = sums.setdefault(layer, [np.zeros_like(whole), np.zeros_like(whole)])
            sums[layer] = [old[0] + np.sum(frame, 0), old[1] + whole]
    found: dict[str, Array] = {}
    for layer, (frames, batches) in sums.items():
        found[f"explain.frame.{layer}"] = (frames / seen).astype(np.float32)
        found[f"explain.batch.{layer}"] = np.maximum((batches - frames) / pairs, 0).astype(
            np.float32
        )
    return found


def running_statistics(bundle: Bundle) -> dict[str, Array]:
    """What a model without samples still knows: the running statistics of its batch norms."""
    return {
        f"{slot.role}.{slot.layer}": bundle.source_slots[slot.name]
        for slot in bundle.manifest.named("mean", "var")
    }


def thresholds(
    bundle: Bundle, session: AdaptSession, samples: Array, source: Mapping[str, Array]
) -> dict[str, float]:
    """How far source data itself strays: what a drift score must exceed to mean drift.

    ``statistics_kl@B``: the distance from the source statistics that one batch in ``ONE_IN`` of B source
    frames exceeds (of fewer batches, the largest), with a margin; absent where the samples make fewer
    than ``MIN_BATCHES`` batches. ``statistics_kl_mixed@B``: the same of samples in random order, for
    frames that a buffer has chosen out of many; where samples come in the order of a stream, as frames of
    a clip, whole batches of them show one thing, and stray much further. ``entropy``: the mean over the
    samples plus ``SIGMAS`` deviations of its moving average.
    """
    found: dict[str, float] = {}
    mixed = np.random.default_rng(0).permutation(len(samples))
    orders = {"statistics_kl": np.arange(len(samples)), "statistics_kl_mixed": mixed}
    for name, order in orders.items():
        for size in BATCHES:
            count = len(samples) // size
            if count < MIN_BATCHES:
                continue
            scores = []
            for k in range(count):
                batch = samples[order[k * size : (k + 1) * size]]
                step = session.run("batch", batch, bundle.source_slots, alpha=0.0)
                away = list(distance(step.moments, source).values())
                scores.append(float(np.mean(away or [np.nan])))
            if np.isfinite(scores).all():
                high = sorted(scores)[count - count // ONE_IN - 1 if count > ONE_IN else -1]
                found[f"{name}@{size}"] = float(f"{MARGIN * high:.4g}")
    entropy = source.get("entropy")
    if entropy is not None and len(entropy) >= MIN_BATCHES * BATCHES[0]:
        averaged = entropy.std() * np.sqrt(0.05 / (2 - 0.05))
        found["entropy"] = float(f"{entropy.mean() + SIGMAS * averaged:.4g}")
    return found


def temperatures(
    bundle: Bundle, session: AdaptSession, samples: Array, target: float = WINNER
) -> Mapping[str, float]:
    """1/τ of each Hebbian layer at which the mean largest share is ``target``.

    Found by bisection on a logarithmic scale: the share grows with 1/τ from 1/K to 1. A target that
    random ties keep out of reach leaves the largest 1/τ tried.
    """
    batch = samples[:CHUNK]
    layers = sorted({s.layer for s in bundle.manifest.named("weight")})
    low, high = (dict.fromkeys(layers, 10.0**p) for p in (-3.0, 4.0))
    for _ in range(BISECTIONS):
        middle = {k: float(np.sqrt(low[k] * high[k])) for k in layers}
        inputs = {f"t_invert.{k}": v for k, v in middle.items()}
        step = session.run("step/nhl", batch, bundle.source_slots, alpha=0.0, eta=0.0, **inputs)
        for layer in layers:
            (low if step.winner[layer] < target else high)[layer] = middle[layer]
    return {k: float(f"{np.sqrt(low[k] * high[k]):.4g}") for k in layers}


def fisher(bundle: Bundle, session: AdaptSession, samples: Array) -> dict[str, Array]:
    """Diagonal Fisher information of every slot that has a gradient, ``fisher.<slot>``.

    ω = (1/Q)·Σ g², g the gradient of the cross-entropy of a sample's own pseudo-label, sample by sample
    under the source's statistics; of the first ``FISHER_SAMPLES`` samples.
    """
    total: dict[str, Array] = {}
    chosen = samples[:FISHER_SAMPLES]
    for k in range(len(chosen)):
        step = session.run("step/pseudo_label", chosen[k : k + 1], bundle.source_slots, alpha=0.0)
        for name, gradient in step.gradients.items():
            square = gradient.astype(np.float64) ** 2
            total[name] = total[name] + square if name in total else square
    return {f"fisher.{k}": (v / len(chosen)).astype(np.float32) for k, v in total.items()}


def entropy_of(logits: Array) -> Array:
    """Entropy in nats of softmax(logits) ``(N, K)``, ``(N,)``.

    >>> import numpy as np
    >>> round(float(entropy_of(np.zeros((1, 4), np.float32))[0]), 4)
    1.3863
    """
    shifted = logits - logits.max(-1, keepdims=True)
    total = np.exp(shifted).sum(-1, keepdims=True)
    log_p = shifted - np.log(total)
    return np.asarray(-(np.exp(log_p) * log_p).sum(-1), np.float32)
