"""The newest frame of another process, in shared memory: a triple buffer.

::

    header  | published slot, frames published, held slot |
    slot 0  | length, JSON of seq, time, type, shape, meta | data |
    slot 1    ...
    slot 2    ...

The writer fills a slot that is neither published nor held, then publishes it; the reader holds what is
published while it copies. So neither waits for the other, and no frame is torn. The two words that both
change are guarded by a record lock, which the kernel lets go of when its process dies, and which orders
memory on machines that reorder writes. The memory has no name: it is gone with the last of the two.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tta.errors import FrameError, SourceError
from tta.records import Frame

MOST_MIB = 64  # of one frame; untouched pages cost nothing
_HEADER = struct.Struct("<qqq")
_LENGTH = struct.Struct("<I")
_PAGE = 4096
_SLOT = _PAGE + (MOST_MIB << 20)
_SIZE = _PAGE + 3 * _SLOT
_STUCK_S = 1.0  # a lock that is held for microseconds


class Taken(NamedTuple):
    """A frame, and its number among those published, from 1."""

    number: int
    frame: Frame


class NewestFrame:
    """One end of the triple buffer.

    Args:
        fd: the memory's file, from the other end's ``fd``; by default new memory.

    >>> memory = NewestFrame()
    >>> for seq in range(3):
    ...     memory.put(Frame(np.full((1, 2), seq), t_s=seq / 30, seq=seq))
    >>> memory.take()
    Taken(number=3, frame=Frame(data=array([[2, 2]]), t_s=0.06666666666666667, seq=2, source='', meta={}))
    >>> memory.take() is None
    True
    >>> memory.close()
    """

    def __init__(self, fd: int | None = None) -> None:
        self.fd = _memory() if fd is None else fd
        self._map = mmap.mmap(self.fd, _SIZE)
        self._last = 0
        if fd is None:
            _HEADER.pack_into(self._map, 0, -1, 0, -1)

    def put(self, frame: Frame) -> None:
        """Publish a frame.

        Raises:
            FrameError: it does not fit, or holds no numbers.
        """
        data = np.ascontiguousarray(frame.data)
        if data.dtype.kind not in "uif":
            raise FrameError(f"frame {frame.seq} holds {data.dtype} values; expected numbers")
        if data.nbytes > MOST_MIB << 20:
            raise FrameError(
                f"frame {frame.seq} has {data.nbytes / 2**20:.0f} MiB and at most {MOST_MIB} go from "
                "process to process: ask the camera for a smaller picture, or use process=false"
            )
        with self._locked():
            published, number, held = _HEADER.unpack_from(self._map, 0)
        slot = next(k for k in range(3) if k not in (published, held))
        at = _PAGE + slot * _SLOT
        text = _described(frame, data)
        _LENGTH.pack_into(self._map, at, len(text))
        self._map[at + _LENGTH.size : at + _LENGTH.size + len(text)] = text
        into = np.frombuffer(self._map, np.uint8, data.nbytes, at + _PAGE)
        into[:] = np.frombuffer(data, np.uint8)
        with self._locked():
            held = _HEADER.unpack_from(self._map, 0)[2]
            _HEADER.pack_into(self._map, 0, slot, number + 1, held)

    def take(self) -> Taken | None:
        """A copy of the newest frame, None where it has been taken already."""
        with self._locked():
            slot, number, _ = _HEADER.unpack_from(self._map, 0)
            if number == self._last:
                return None
            _HEADER.pack_into(self._map, 0, slot, number, slot)
        self._last = number
        at = _PAGE + slot * _SLOT
        (length,) = _LENGTH.unpack_from(self._map, at)
        told = json.loads(self._map[at + _LENGTH.size : at + _LENGTH.size + length])
        shape, dtype = tuple(told["shape"]), np.dtype(told["dtype"])
        count = int(np.prod(shape))
        data = np.frombuffer(self._map, dtype, count, at + _PAGE).reshape(shape).copy()
        frame = Frame(data, told["t_s"], told["seq"], told["source"], told["meta"])
        return Taken(number, frame)

    def newer(self) -> bool:
        """Whether a frame is there that was not taken yet."""
        with self._locked():
            return bool(_HEADER.unpack_from(self._map, 0)[1] != self._last)

    def close(self) -> None:
        """Let go of the memory."""
        if self.fd >= 0:
            self._map.close()
            os.close(self.fd)
            self.fd = -1

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        until = time.monotonic() + _STUCK_S
        while True:
            try:
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
                break
            except (BlockingIOError, PermissionError):
                if time.monotonic() > until:
                    raise SourceError(
                        "the other process stopped while it held the lock of the shared frame"
                    ) from None
                time.sleep(1e-4)
        try:
            yield
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, 0)


def _memory() -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("tta-frame")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, _SIZE)
    return fd


def _described(frame: Frame, data: Any) -> bytes:
    told = {
        "seq": frame.seq,
        "t_s": frame.t_s,
        "source": frame.source,
        "dtype": data.dtype.str,
        "shape": data.shape,
        "meta": dict(frame.meta),
    }
    text = json.dumps(told, default=_plain).encode()
    if len(text) > _PAGE - _LENGTH.size:  # notes as long as this are not worth a frame
        text = json.dumps({**told, "meta": {"meta_left_out": True}}).encode()
    return text


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
