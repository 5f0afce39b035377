"""Decodes one message of a sensor (JSON, CSV or raw float32) as ``(C,)`` or ``(C, t)`` float32."""

from __future__ import annotations

import json

import numpy as np

from tta.errors import FrameError
from tta.records import Array

KINDS = ("auto", "json", "csv", "float32")
_LARGEST = float(np.finfo(np.float32).max)


def decode(
    payload: bytes, kind: str = "auto", field: str = "", channels: int | None = None
) -> Array:
    r"""The reading of a message.

    Args:
        payload: ``json``: a number, a list ``(C,)``, a list of t readings ``(t, C)``, or an object; ``csv``:
            numbers cut by commas, semicolons or white space, one reading a line; ``float32``: little endian.
        kind: one of ``KINDS``; ``auto`` takes JSON where it begins as such, CSV where it is text. It never
            guesses raw bytes.
        field: of a JSON object, the key that holds the numbers, dotted for inner ones; by default its
            numbers in the order that they have.
        channels: C; raw bytes are cut into readings of so many.

    Raises:
        FrameError: the payload is something else.

    >>> decode(b'{"acc": [1, 2.5, 3]}', field="acc").tolist()
    [1.0, 2.5, 3.0]
    >>> decode(b"1,2\n3,4").tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    begin = payload[:40]
    if kind == "auto":
        kind = "json" if payload.lstrip()[:1] in (b"{", b"[") else "csv"
    try:
        if kind == "float32":
            values = np.frombuffer(payload, "<f4").astype(np.float32)
            rows = values.reshape(-1, channels) if channels else values
        elif kind == "json":
            rows = np.array(_numbers(json.loads(payload), field))
            if rows.dtype.kind not in "iuf":
                raise ValueError(f"it holds {rows.dtype} values")
            rows = rows.astype(np.float64)
        else:
            lines = payload.decode("ascii").replace(",", " ").replace(";", " ").splitlines()
            rows = np.array([[float(w) for w in line.split()] for line in lines if line.strip()])
    except (ValueError, LookupError, TypeError, RecursionError, OverflowError) as error:
        what = f"no {kind}" if not field else f"no {kind} with numbers in {field!r}"
        raise FrameError(f"a payload is {what}: it begins with {begin!r} ({error})") from None
    rows = rows.reshape(-1) if rows.ndim == 2 and len(rows) == 1 else rows
    reading = rows.T if rows.ndim == 2 else np.atleast_1d(rows)
    if reading.ndim > 2 or not reading.size:
        raise FrameError(f"a payload has shape {rows.shape}; expected (C,) or (t, C)")
    if channels and reading.shape[0] != channels:
        raise FrameError(
            f"a payload has {reading.shape[0]} numbers; expected {channels}: {begin!r}"
        )
    if not (np.abs(reading) <= _LARGEST).all():
        raise FrameError(f"a payload has a number that is no finite float32: {begin!r}")
    return np.ascontiguousarray(reading, np.float32)


def _numbers(value: object, field: str) -> object:
    for key in filter(None, field.split(".")):
        value = value[key]  # type: ignore[index]
    if isinstance(value, dict):
        return [n for n in value.values() if isinstance(n, int | float) and not isinstance(n, bool)]
    return value
