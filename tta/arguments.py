"""Readers of single arguments, which commands and the configuration file share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path


class Whole:
    """Reads a whole number of at least so much.

    Attributes:
        range: what it accepts, for people.
        sample: a value that it accepts.
    """

    def __init__(self, least: int) -> None:
        self._least = least
        self.range, self.sample = f"a whole number of at least {least}", max(1, least)

    def __call__(self, text: str) -> int:
        """The number; ArgumentTypeError for any other text."""
        if not text.isdecimal() or int(text) < self._least:
            raise argparse.ArgumentTypeError(f"must be {self.range}, but is {text!r}")
        return int(text)


class Number:
    """Reads a finite number between two bounds.

    Attributes:
        range: what it accepts, for people.
        sample: a value that it accepts.
    """

    def __init__(self, least: float, most: float, above: bool) -> None:
        self._least, self._most, self._above = least, most, above
        below = "" if math.isinf(most) else f" and at most {most:g}"
        self.range = f"a number {'above' if above else 'of at least'} {least:g}{below}"
        self.sample = min(least + 1, most) / 2 if above else least

    def __call__(self, text: str) -> float:
        """The number; ArgumentTypeError for any other text."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        fits = value > self._least if self._above else value >= self._least
        if not (fits and value <= self._most and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"must be {self.range}, but is {text!r}")
        return value


class Located:
    """Reads a text that names something on the disk, from where it was said.

    On the command line that is the current folder; in a configuration file it is the file's.

    Args:
        at: the same text as seen from anywhere, given the folder that it was relative to.
        written: whether the run writes there.
    """

    def __init__(self, at: Callable[[str, Path], str], written: bool = False) -> None:
        self.at, self.written = at, written

    def __call__(self, text: str) -> str:
        """The text as it is."""
        return text


def whole(least: int) -> Whole:
    """Reads a whole number of at least so much."""
    return Whole(least)


def number(least: float, most: float = math.inf, above: bool = False) -> Number:
    """Reads a number of at least (or ``above``) so much, and at most so much."""
    return Number(least, most, above)


def path_at(text: str, folder: Path) -> str:
    """A path that was relative to a folder; a home folder stays one.

    >>> path_at("states", Path("/etc/tta")), path_at("~/a.db", Path("/etc/tta"))
    ('/etc/tta/states', '~/a.db')
    """
    return text if text.startswith("~") else str(folder / text)


read_path = Located(path_at)
written_path = Located(path_at, written=True)
