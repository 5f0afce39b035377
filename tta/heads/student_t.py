"""A last layer in closed form whose answer is a Student-t distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tta.records import Array


@dataclass(frozen=True, slots=True)
class StudentT:
    """Bayesian linear regression on features with an unknown scale.

    s² ~ IG(a, b), w | s² ~ N(0, s² I), y | w, s² ~ N(φᵀw, s² ε): the predictive of y is t with 2a degrees of
    freedom, mean φᵀPr and scale² (b/a)(ε + φᵀPφ), where after n samples

        P = (ΦᵀΦ/ε + I)⁻¹,  r = Φᵀy/ε,  a = a₀ + n/2,  b = b₀ + ½(yᵀy/ε - rᵀPr).

    The same posterior as of the process with kernel ΦΦᵀ + εI and an inverse gamma prior on its scale
    (Lee et al., "Scale Mixtures of Neural Network Gaussian Processes", ICLR 2022, section 3). A head is a
    value: ``with_samples`` gives a new one.

    Attributes:
        precision_inverse: P ``(D, D)``.
        moment: r ``(D, p)``, of p outputs that share P.
        energy: Σ y²/ε ``(p,)``.
        shape: a.
        rate: b₀, of the prior.
        noise: ε, the share of the noise in the prior's variance.
    """

    precision_inverse: Array
    moment: Array
    energy: Array
    shape: float
    rate: float
    noise: float

    @classmethod
    def prior(
        cls,
        features: int,
        outputs: int = 1,
        shape: float = 1.0,
        rate: float = 1.0,
        noise: float = 0.1,
    ) -> StudentT:
        """The head before any sample."""
        zeros = np.zeros((features, outputs))
        return cls(np.eye(features), zeros, np.zeros(outputs), shape, rate, noise)

    def with_samples(
        self, features: Array, targets: Array, weight: Array | None = None
    ) -> StudentT:
        """The head after samples ``(n, D)`` with targets ``(n,)`` or ``(n, p)``; the order does not matter.

        A sample of ``weight (n,)`` w counts like w samples: λ to the power of its age forgets the old ones.

        Fewer samples than features update P by Woodbury's identity, so that one sample costs O(D²).
        """
        phi = np.asarray(features, np.float64)
        y = np.asarray(targets, np.float64).reshape(len(phi), -1)
        worth = float(len(phi) if weight is None else weight.sum())
        if weight is not None:
            root = np.sqrt(np.asarray(weight, np.float64))[:, None]
            phi, y = phi * root, y * root
        p = self.precision_inverse
        if len(phi) < len(p):
            gain = p @ phi.T @ np.linalg.inv(self.noise * np.eye(len(phi)) + phi @ p @ phi.T)
            new = p - gain @ phi @ p
        else:
            new = np.linalg.inv(np.linalg.inv(p) + phi.T @ phi / self.noise)
        return replace(
            self,
            precision_inverse=new,
            moment=self.moment + phi.T @ y / self.noise,
            energy=self.energy + (y * y).sum(0) / self.noise,
            shape=self.shape + worth / 2,
        )

    @property
    def weights(self) -> Array:
        """Posterior mean of w, ``(D, p)``."""
        found: Array = self.precision_inverse @ self.moment
        return found

    @property
    def scale_rate(self) -> Array:
        """B after the samples, ``(p,)``."""
        fit = np.einsum("dp,dp->p", self.moment, self.weights)
        found: Array = self.rate + np.maximum(self.energy - fit, 0) / 2
        return found

    def predict(self, features: Array) -> tuple[float, Array, Array]:
        """Degrees of freedom, mean and scale ``(n, p)`` of the predictive at features ``(n, D)``."""
        phi = np.asarray(features, np.float64)
        leverage = self.noise + np.einsum("nd,de,ne->n", phi, self.precision_inverse, phi)
        variance = leverage[:, None] * self.scale_rate / self.shape
        return 2 * self.shape, phi @ self.weights, np.sqrt(variance)

    def evidence(self) -> float:
        """Log of the samples' density given the noise ε, up to what ε does not change: to choose ε by.

        With n = 2(a - a₀) samples in all and K = ΦΦᵀ + εI, Σ over outputs of
        -½·ln|K| - a·ln(1 + ½·yᵀK⁻¹y/b₀), where ln|K| = n·ln ε - ln|P| and yᵀK⁻¹y = yᵀy/ε - rᵀPr. The prior's
        a₀ must have been 1.
        """
        samples = 2 * (self.shape - 1)
        _, log_p = np.linalg.slogdet(self.precision_inverse)
        half = 0.5 * (samples * math.log(self.noise) - float(log_p))
        fits = self.shape * np.log(self.scale_rate / self.rate)
        return -float(half * len(self.energy) + fits.sum())

    def surprise(self, features: Array, targets: Array) -> Array:
        """-log t(y) in nats, ``(n,)``: summed over the outputs."""
        freedom, mean, scale = self.predict(features)
        y = np.asarray(targets, np.float64).reshape(mean.shape)
        return np.asarray(negative_log_t((y - mean) / scale, freedom, scale).sum(-1))


def negative_log_t(standardised: Array, freedom: float, scale: Array) -> Array:
    """-log density of a t variate: log(s√(νπ)) + logΓ(ν/2) - logΓ((ν+1)/2) + (ν+1)/2·log(1 + z²/ν).

    >>> import numpy as np
    >>> round(float(negative_log_t(np.zeros(1), 1.0, np.ones(1))[0]), 6)  # Cauchy: log π
    1.14473
    """
    constant = math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2)
    constant += 0.5 * math.log(freedom * math.pi)
    bent = (freedom + 1) / 2 * np.log1p(standardised**2 / freedom)
    found: Array = constant + np.log(scale) + bent
    return found
