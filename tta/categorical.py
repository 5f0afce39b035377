"""Class probabilities from logits ``(N, K)``, in float64."""

from __future__ import annotations

import numpy as np

from tta.records import Array


def log_softmax(logits: Array) -> Array:
    """Log of the probabilities ``(N, K)``."""
    x = logits.astype(np.float64)
    shifted = x - x.max(1, keepdims=True)
    found: Array = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return found


def entropies(logits: Array) -> tuple[Array, Array]:
    """Probabilities p ``(N, K)`` and their entropies -Σ p·ln p ``(N,)`` in nats.

    >>> import numpy as np
    >>> p, h = entropies(np.zeros((1, 4)))
    >>> float(h[0] / np.log(4))
    1.0
    """
    log_p = log_softmax(logits)
    p = np.exp(log_p)
    entropy: Array = -(p * log_p).sum(1)
    return p, entropy
