"""Wilson's interval of a share, for few labels."""

from __future__ import annotations

Z = 1.959964  # 97.5 % point of the normal distribution


def wilson(share: float, n: float, z: float = Z) -> tuple[float, float]:
    """The interval, by default 95 %, of a share of n independent trials.

        (p + z²/2n ± z·√(p(1-p)/n + z²/4n²)) / (1 + z²/n)

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927. It stays in
    0..1 and is of use from a handful of trials on, where p ± z·√(p(1-p)/n) is not (Brown, Cai & DasGupta,
    "Interval estimation for a binomial proportion", Statistical Science 2001). n need not be whole: under a
    design it is the effective number of trials. Without a trial it is 0..1.

    >>> [round(v, 3) for v in wilson(0.9, 20)]
    [0.699, 0.972]
    """
    if not n > 0:
        return 0.0, 1.0
    middle = share + z * z / (2 * n)
    half = z * (share * (1 - share) / n + (z / (2 * n)) ** 2) ** 0.5
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
