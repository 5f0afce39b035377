"""A vector that is compared with a gallery of others."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tta.errors import TtaError
from tta.records import Array
from tta.tasks._plain import Plain

MOST = 2048  # vectors of the source that are kept as a gallery


class Embed(Plain):
    """Vectors ``(N, D)`` compared by their cosine; the error is 1 - recall@1 against the source's gallery.

    The gallery is what the source model made of the labelled calibration samples: vectors that were
    stored once and must stay valid. A frame is right where its nearest vector there has its label.
    Answers agree by their cosine, 0 where it is negative; confidence is the cosine to the nearest vector
    of the gallery.
    """

    gives = frozenset({"embedding"})
    primary: ClassVar[str] = "embedding"
    outputs: ClassVar[str] = "embedding (N, D)"
    measure: ClassVar[str] = "1 - recall@1"
    arrays: ClassVar[tuple[str, ...]] = ("labels", "targets", "y")

    @staticmethod
    def unfit(shape: tuple[int, ...], labels: int) -> str:
        """See ``Task``; labels name the gallery's classes."""
        if len(shape) != 1:
            axes = ", ".join(map(str, shape))
            return f"an embedder's output is (N, D), but this one is (N, {axes})"
        return ""

    @staticmethod
    def reference(outputs: Array, targets: Array | None) -> dict[str, Array]:
        """A gallery of unit vectors ``(m, D)`` with labels ``(m,)``; empty without labels as targets."""
        if targets is None or targets.ndim != 1 or targets.dtype.kind not in "iu":
            return {}
        kept = np.linspace(0, len(outputs) - 1, min(len(outputs), MOST)).astype(int)
        return {
            "gallery": unit(outputs[kept]).astype(np.float32),
            "gallery_labels": targets[kept].astype(np.int64),
        }

    def decode(self, output: Array) -> Any:
        """Label and cosine of the nearest vector of the gallery; None where there is no gallery."""
        if "gallery" not in self._known:
            return None
        label, cosine = self._nearest(output[None])
        return {"nearest": self.name_of(int(label[0])), "cosine": float(cosine[0])}

    def confidence(self, outputs: Array) -> Array:
        """Cosine to the nearest vector of the gallery, at least 0."""
        if "gallery" not in self._known:
            return np.full(len(outputs), np.nan)
        found: Array = np.clip(self._nearest(outputs)[1], 0, 1)
        return found

    def agreement(self, frozen: Array, adapted: Array) -> Array:
        """The cosine, at least 0."""
        found: Array = np.clip((unit(frozen) * unit(adapted)).sum(1), 0, 1)
        return found

    def checked(self, targets: Array, n: int) -> Array:
        """Labels ``(n,)`` as those of the gallery."""
        if "gallery" not in self._known:
            raise TtaError(
                f"{self._name} has no gallery to retrieve from: export again with --samples of an .npz with "
                "labels beside the samples"
            )
        return self.whole(targets, (n,), int(self._known["gallery_labels"].max()) + 1)

    def error(self, outputs: Array, targets: Array) -> Array:
        """1 where the nearest vector of the gallery has another label."""
        fine: Array = np.asarray(np.isfinite(outputs).all(1))
        label, _ = self._nearest(np.where(fine.reshape(-1, 1), outputs, 0))
        return np.where(fine & (label == targets), 0.0, 1.0)

    def _nearest(self, outputs: Array) -> tuple[Array, Array]:
        cosines = unit(outputs) @ self._known["gallery"].T
        best = cosines.argmax(1)
        return self._known["gallery_labels"][best], cosines[np.arange(len(best)), best]


def unit(vectors: Array) -> Array:
    """Vectors ``(n, D)`` of length 1; zeros stay."""
    x = np.asarray(vectors, np.float64).reshape(len(vectors), -1)
    found: Array = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return found
