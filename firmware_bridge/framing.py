"""COBS framing in bulk: a chunk of wire bytes in, the bodies between its zero bytes out; does no I/O.

Consistent Overhead Byte Stuffing (Cheshire & Baker, IEEE/ACM ToN 7(2), 1999) replaces the zero bytes of
a body by a chain of codes, each the distance to the next one, so that a zero on the wire means one
thing: a frame ends. What a corrupted byte can spoil thus ends at the next zero.
"""

from __future__ import annotations

import binascii
from typing import NamedTuple

import numpy as np

from tta.records import Array

_LOCKSTEP = 12  # codes a frame that are followed one by one, before the chains are doubled
_CACHED = 32768  # bytes decoded at a time


class Bodies(NamedTuple):
    """Decoded bodies of one chunk, one after the other.

    Attributes:
        data: all of their bytes.
        bounds: ``(F + 1,)`` where each begins; the last is the end of the last.
        bad: how many frames were no COBS; their bodies are not among these.
    """

    data: bytes
    bounds: list[int]
    bad: int


def crc16(data: bytes | memoryview, seed: int = 0) -> int:
    """CRC-16/XMODEM: polynomial 0x1021, not reflected, no final xor, ``seed`` in the register.

    >>> hex(crc16(b"123456789"))
    '0x31c3'
    """
    return binascii.crc_hqx(data, seed)


def encode(body: bytes) -> bytes:
    r"""A body as it goes on the wire, between two zero bytes.

    >>> encode(b"\x11\x00\x22").hex(" ")
    '00 02 11 02 22 00'
    """
    out = bytearray(1)
    for piece in body.split(b"\0"):
        for at in range(0, len(piece) - 253, 254):
            out.append(255)
            out += piece[at : at + 254]
        rest = len(piece) % 254
        # A run of 254 bytes is followed by code 1 for its zero; at the end of a body, by nothing.
        out.append(rest + 1)
        out += piece[len(piece) - rest :]
    last = len(body) - (body.rfind(b"\0") + 1)
    if last and last % 254 == 0:
        out.pop()
    out.append(0)
    return bytes(out)


def decode(wire: bytes) -> Bodies:
    r"""The bodies of all frames in bytes that end with a zero byte; empty frames are nothing.

    The chains of all frames are followed at once: a few codes in lockstep, then, where bodies are full of
    zeros, by doubling, next²ᵏ⁺¹ = next²ᵏ[next²ᵏ], so that the cost a byte grows with the logarithm of the
    codes in a frame.

    >>> decode(b"\x00\x02\x11\x02\x22\x00\x00\x05\x11\x00")
    Bodies(data=b'\x11\x00"', bounds=[0, 3], bad=1)
    """
    if len(wire) <= 2 * _CACHED:
        return _decode(wire)
    return _join([_decode(piece) for piece in _pieces(wire)])


def _decode(wire: bytes) -> Bodies:
    buffer: Array = np.frombuffer(wire, np.uint8)
    zeros = np.flatnonzero(buffer == 0)
    starts = np.empty_like(zeros)
    starts[:1], starts[1:] = 0, zeros[:-1] + 1
    full = zeros > starts
    starts, ends = starts[full], zeros[full]
    if not len(starts):
        return Bodies(b"", [0], 0)
    is_code = np.zeros(len(buffer), bool)
    at, end = starts, ends
    lost: list[Array] = []  # ends of frames whose chain leaves them
    for _ in range(_LOCKSTEP):
        is_code[at] = True
        at = at + buffer[at]
        alive = at < end
        if not alive.all():
            lost.append(end[at > end])
            at, end = at[alive], end[alive]
            if not len(at):
                break
    else:
        lost.append(_double(buffer, zeros, at, is_code))
    codes = np.flatnonzero(is_code)
    kept = np.ones(len(buffer), bool)
    kept[zeros] = False
    kept[starts] = False
    kept[codes[1:][buffer[codes[:-1]] == 255]] = False  # a full run has no zero after it
    gone = np.concatenate(lost)
    bad = np.isin(ends, gone) if len(gone) else np.zeros(len(ends), bool)
    for first, last in zip(starts[bad], ends[bad]):
        kept[first:last] = False
    decoded = buffer.copy()
    decoded[codes] = 0
    counts = np.add.reduceat(kept, starts, dtype=np.intp)
    bounds = [0, *np.cumsum(counts[~bad]).tolist()]
    return Bodies(decoded[kept].tobytes(), bounds, int(bad.sum()))


def _double(buffer: Array, zeros: Array, at: Array, is_code: Array) -> Array:
    """Mark the rest of the chains that begin ``at``; the ends of the frames whose chain leaves them."""
    n = len(buffer)
    end_of = np.repeat(zeros, np.diff(zeros, prepend=-1))
    # A delimiter is a code of 0, so chains rest there; one that goes beyond it rests in a sink at n.
    jump = np.append(np.arange(n) + buffer, n)
    leaves = jump[:n] > end_of
    jump[:n][leaves] = n
    goes_on = np.append(buffer != 0, False)
    is_code[at] = True
    found = [at]
    while True:
        new = jump[np.concatenate(found)]
        new = new[goes_on[new]]
        if not len(new):
            break
        is_code[new] = True
        found.append(new)
        jump = jump[jump]
    marked = np.concatenate(found)
    gone: Array = end_of[marked[leaves[marked]]]
    return gone


def _pieces(wire: bytes) -> list[bytes]:
    """About as much as a processor caches, cut after zero bytes."""
    pieces, at = [], 0
    while at < len(wire):
        end = wire.find(b"\0", at + _CACHED) + 1 or len(wire)
        pieces.append(wire[at:end])
        at = end
    return pieces


def _join(parts: list[Bodies]) -> Bodies:
    bounds, at = [0], 0
    for part in parts:
        bounds += [at + bound for bound in part.bounds[1:]]
        at += len(part.data)
    return Bodies(b"".join(part.data for part in parts), bounds, sum(part.bad for part in parts))


class Splitter:
    r"""Cuts a stream at its zero bytes, in whatever pieces it comes, holding at most one frame.

    Args:
        largest: bytes of a body; a longer frame is skipped and counted, and never held.

    Attributes:
        bad: frames that were no COBS so far.
        oversize: frames that were too long so far.

    >>> splitter = Splitter()
    >>> [splitter.feed(piece).data for piece in (b"\x00\x02\x11", b"\x02\x22", b"\x00")]
    [b'', b'', b'\x11\x00"']
    """

    def __init__(self, largest: int = 8192) -> None:
        self.longest = largest + largest // 254 + 1
        self.bad = self.oversize = 0
        self._held = b""
        self._skipping = False

    def cut(self) -> None:
        """Forget the beginning of a frame."""
        self._held, self._skipping = b"", False

    def feed(self, data: bytes) -> Bodies:
        """The bodies that these bytes complete."""
        end = data.rfind(b"\0") + 1
        if not end:
            self._hold(data)
            return Bodies(b"", [0], 0)
        wire, rest = self._held + data[:end], data[end:]
        if self._skipping:
            wire = wire[wire.index(b"\0") :]
        self._held, self._skipping = b"", False
        self._hold(rest)
        if len(wire) > self.longest + 1:
            wire = self._short_ones(wire)
        bodies = decode(wire)
        self.bad += bodies.bad
        return bodies

    def _hold(self, rest: bytes) -> None:
        if self._skipping:
            return
        self._held += rest
        if len(self._held) > self.longest:
            self._held, self._skipping = b"", True
            self.oversize += 1

    def _short_ones(self, wire: bytes) -> bytes:
        zeros = np.flatnonzero(np.frombuffer(wire, np.uint8) == 0)
        long = np.flatnonzero(np.diff(zeros, prepend=-1) > self.longest + 1)
        if not len(long):
            return wire
        self.oversize += len(long)
        pieces, at = [], 0
        for k in long:
            begin = int(zeros[k - 1]) + 1 if k else 0
            pieces.append(wire[at:begin])
            at = int(zeros[k]) + 1
        return b"".join([*pieces, wire[at:]]) or b"\0"
