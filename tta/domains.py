"""A small memory of the domains that a stream has visited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CAPACITY = 16  # domains; the one visited longest ago makes room, never the source
NEAR = 3.0  # standard errors of a signature within which two are the same
RELATIVE = 0.25  # of a signature's size: far domains are known less exactly


@dataclass
class Domain:
    """A domain: where it lies in each score, in source deviations, and how far it spreads."""

    number: int
    signature: dict[str, float]
    spread: dict[str, float] = field(default_factory=dict)
    visited: int = 0
    harmful: bool = False
    error: float = float("nan")  # estimated, where it was learned


@dataclass
class Bank:
    """Known domains; number 0 is the source.

    Two signatures are the same where in every score |a - b| ≤ 3·e + 0.25·max(|a|, |b|), e being the
    standard error of the signature at hand: a domain is recognised by all of its scores or not at all.
    (Remembering domains to tell a return from news follows Hoang et al., "PeTTA", NeurIPS 2024, and the
    domain banks of forward-only methods.)
    """

    domains: list[Domain] = field(default_factory=lambda: [Domain(0, {})])
    visits: int = 0
    born: int = 1

    @property
    def source(self) -> Domain:
        """The domain that the model comes from."""
        return self.domains[0]

    def recall(self, signature: Mapping[str, float], errors: Mapping[str, float]) -> Domain | None:
        """The nearest known domain that the signature fits, None if it is news."""
        ratios = [(self._ratio(d, signature, errors), d) for d in self.domains]
        ratio, domain = min(ratios, key=lambda pair: pair[0])
        if ratio > 1:
            return None
        self._visit(domain)
        return domain

    def learn(
        self,
        signature: Mapping[str, float],
        spread: Mapping[str, float],
        harmful: bool,
        error: float,
    ) -> Domain:
        """Remember a new domain."""
        if len(self.domains) >= CAPACITY:
            oldest = min(self.domains[1:], key=lambda d: d.visited)
            self.domains.remove(oldest)
        domain = Domain(self.born, dict(signature), dict(spread), 0, harmful, error)
        self.born += 1
        self.domains.append(domain)
        self._visit(domain)
        return domain

    def _visit(self, domain: Domain) -> None:
        self.visits += 1
        domain.visited = self.visits

    def _ratio(
        self, domain: Domain, signature: Mapping[str, float], errors: Mapping[str, float]
    ) -> float:
        worst = 0.0
        for name, value in signature.items():
            known = domain.signature.get(name, 0.0)
            allowed = NEAR * errors.get(name, 1.0) * domain.spread.get(name, 1.0)
            allowed += RELATIVE * max(abs(value), abs(known))
            worst = max(worst, abs(value - known) / max(allowed, 1e-9))
        return worst
