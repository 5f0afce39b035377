"""Which norm layers of a model adapt: ``all``, ``stem``, ``last:N``, or layers by name.

A gradient runs back to the first adaptable layer and no further, and a norm that does not adapt is folded
into the convolution before it, so a few late layers cost a fraction of all. ``auto`` is decided before, see
``export/optimize/auto_layers.py``.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from tta.errors import ExportError

Layers = str | Sequence[str]


def chosen(names: Sequence[str], layers: Layers) -> set[str]:
    """Names of the norms that adapt.

    Args:
        names: all norm layers of the model, in graph order.
        layers: ``all``, ``stem`` (the first), ``last:N``, or names of layers or of the modules they are in.

    Raises:
        ExportError: a name that no layer has, or a number that the model cannot give.

    >>> sorted(chosen(["stem", "block.1", "block.2"], "last:2"))
    ['block.1', 'block.2']
    >>> chosen(["stem", "block.1", "block.2"], ["block.2"])
    {'block.2'}
    """
    if layers == "all":
        return set(names)
    if layers == "stem":
        return set(names[:1])
    given = layers.split(",") if isinstance(layers, str) else list(layers)
    words = [word.strip() for word in given if word.strip()]
    if len(words) == 1 and words[0].startswith("last:"):
        count = words[0].removeprefix("last:")
        if not count.isdecimal() or not 1 <= int(count) <= len(names):
            raise ExportError(
                f"layers 'last:N' takes N from 1 to {len(names)}, as many norm layers as the model "
                f"has, but got {words[0]!r}"
            )
        return set(names[-int(count) :])
    found: set[str] = set()
    for word in words:
        matching = [n for n in names if n == word or n.startswith(f"{word}.")]
        if not matching:
            near = difflib.get_close_matches(word, names, n=3) or names[:8]
            raise ExportError(f"no norm layer is named {word!r}; nearest: {', '.join(near)}")
        found.update(matching)
    if not found:
        raise ExportError("layers is empty: name a layer, or pass all, stem, last:N or auto")
    return found
