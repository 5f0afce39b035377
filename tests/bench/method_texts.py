"""What an adapter's docstring says: its first sentence, its paper, its cost, and how it does at batch 1."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

from tta import registry
from tta.runtime.method import make_adapter

CITED = re.compile(
    r"((?:(?:[Dd]e |[Vv]an )?[A-ZÀ-Þ][\w'-]*(?:, | and | & )?)+(?: et al\.)?), "  # authors
    r'("[^"]+", )?'
    r"((?:[A-Z][A-Za-z. &]*)?(?:19|20)\d\d)"  # venue and year
    r"( \(arXiv [\d.]+\))?"
)


@dataclass(frozen=True, slots=True)
class MethodText:
    """What a method says of itself.

    Attributes:
        paper: authors, title and venue of the first work that is cited, empty for none.
        needs: graphs of the bundle.
        batch_one: what it says of batch 1, else ``yes`` or ``with a buffer``.
        evaluation_only: it says that no device can afford it.
    """

    name: str
    file: str
    sentence: str
    paper: str
    cost: str
    needs: tuple[str, ...]
    batch_one: str
    evaluation_only: bool


def method_text(name: str) -> MethodText:
    """Read it from the class of that name; a class attribute ``paper`` or ``evaluation_only`` goes first."""
    made = registry.load("tta.adapters", name)
    doc = inspect.cleandoc(made.__doc__ or "")
    adapter = make_adapter(name)
    paragraphs = [_flat(paragraph) for paragraph in doc.split("\n\n")]
    costs = [p[p.index("Cost:") :] for p in paragraphs if "Cost:" in p]
    alone = "yes" if not getattr(adapter, "couples", True) else "with a buffer"
    single = [
        s for s in re.split(r"(?<=[.:]) ", _flat(doc)) if re.search(r"\bat batch 1\b", s, re.I)
    ]
    said = getattr(made, "evaluation_only", "evaluation only" in _flat(doc).lower())
    return MethodText(
        name,
        f"tta/adapters/{made.__module__.rpartition('.')[2]}.py",
        paragraphs[0],
        str(getattr(made, "paper", paper(doc))),
        costs[0] if costs else "",
        tuple(sorted(adapter.needs)),
        single[0].rstrip(".:") if single else alone,
        bool(said),
    )


def paper(doc: str) -> str:
    """The first work that a docstring cites.

    >>> paper('After Tang et al., CVPR 2023 (arXiv 2303.00914).')
    'Tang et al., CVPR 2023 (arXiv 2303.00914)'
    >>> paper('See Niu et al., "Towards stable adaptation", ICLR 2023, eq. 2.')
    'Niu et al., "Towards stable adaptation", ICLR 2023'
    >>> paper("None at all.")
    ''
    """
    found = CITED.search(_flat(doc))
    if found is None:
        return ""
    text = found[0]
    for word in ("After ", "See "):  # a sentence that begins with its authors
        text = text.removeprefix(word)
    return text


def _flat(text: str) -> str:
    return " ".join(text.replace("``", "`").split())
