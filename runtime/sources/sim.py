"""A shifting world made of any data: ``sim://cifar10?corruption=fog&schedule=gradual&order=dirichlet:0.1&seed=3``.

::

    sim://DATA?option=value&...
        DATA         cifar10, cifar10/train, imagenet (files of $TTA_DATA); fashion; watch, watch/8-10;
                     a .npz archive, a folder of images (subfolders are classes), a video file
        corruption   none, names joined by commas, or all: the fifteen standard ones
        severity     1 (mild) to 5 (harsh)
        schedule     none, abrupt, gradual, recurring:ROUNDS, mixed, slow, diurnal:HOUR
        order        given, iid, sorted, dirichlet:DELTA, video:RHO
        seed frames fps onset start stop size
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from tta.corruptions import Draws, corrupt, find, names, standard
from tta.errors import SourceError
from tta.records import Array, Frame
from tta.runtime.datasets import Dataset, open_dataset
from tta.simulation import Segment, build

_DAY_S = 86400.0
_CHUNK = 64  # frames that are made together, at most; they are the same in any chunk
_CHUNK_VALUES = 1 << 22  # numbers in a chunk of large frames
_SCALE_SAMPLES = 20000  # that a sensor's spread is measured on


class _World(NamedTuple):
    """What a stream consists of, once its data are open."""

    data: Dataset
    fps: float
    segments: list[Segment]
    items: Array  # (frames,) item of the data behind each frame
    at: Array  # (frames,) which of the item's samples
    shown: Array  # (frames,) frame whose item is seen: another one where a clock is wrong
    choice: Array  # (frames,) which of its segment's corruptions a frame has
    scale: Array | None  # (C,) standard deviation of a sensor's channels


class SimSource:
    """Frames of a data set whose world changes by a schedule; the same seed gives the same bytes.

    ``meta`` has ``item`` (row of the data set), ``label`` and ``label_name`` where they are known,
    ``corruption`` (``none`` where clean), ``severity``, ``segment`` (its index) and ``change``, true
    at the first frame of each segment but the first; on a diurnal stream also ``hour``. ``t_s`` is
    simulated: seq / fps.

    Args:
        data: name or path, see the module's docstring, or a ``Dataset``.
        corruption: ``none``, names joined by commas, or ``all``.
        severity: 1 to 5.
        schedule: when it happens.
        order: in which order the items come; by default ``iid``, for a video ``given``.
        seed: of everything that chance decides.
        frames: length of the stream; by default the data set once.
        fps: frames per second of simulated time; by default the data's own, or such that a diurnal
            stream is one day.
        onset: frames before the first change; by default the schedule's own.
        start: first item of the data set that is used.
        stop: item to stop before.
        size: images are brought to so many pixels a side.

    Raises:
        SourceError, NotFoundError: an option is none of these; the data are looked at on entering.

    >>> source = SimSource("fashion", corruption="fog", severity=2, frames=8, seed=1)
    >>> with source:
    ...     [(f.meta["corruption"], f.meta["change"]) for f in source][3:6]
    [('none', False), ('fog', True), ('fog', False)]
    >>> source.changes
    [4]
    """

    live = False

    def __init__(
        self,
        data: str | Dataset = "",
        *,
        corruption: str = "none",
        severity: float = 5,
        schedule: str = "abrupt",
        order: str = "",
        seed: int = 0,
        frames: int | None = None,
        fps: float | None = None,
        onset: int | None = None,
        start: int = 0,
        stop: int | None = None,
        size: int | None = None,
    ) -> None:
        self._data = data
        self.corruptions = _corruptions(corruption)
        self.severity = severity
        self.schedule = build("schedule", schedule)
        self._order = build("order", order) if order else None
        whole = [name for name in self.corruptions if find(name).none is None]
        if not 1 <= severity <= 5 or (whole and severity != int(severity)):
            kind = "a whole number " if whole else ""
            raise SourceError(f"severity must be {kind}from 1 to 5, but is {severity:g}")
        if whole and schedule == "slow":
            raise SourceError(
                f"schedule slow needs a fault that can grow, but {whole[0]} has whole severities only: "
                f"take schedule gradual, or one of {', '.join(names('camera') + names('sensor'))}"
            )
        least = {
            "seed": (seed, 0),
            "frames": (frames, 1),
            "onset": (onset, 0),
            "start": (start, 0),
            "stop": (stop, 0),
            "size": (size, 16),
        }
        for option, (value, low) in least.items():
            if value is not None and value < low:
                raise SourceError(
                    f"option {option} of sim:// must be at least {low}, but is {value}"
                )
        if size is not None and isinstance(data, Dataset):
            raise SourceError(
                "option size is for data that are named: give it to the Dataset itself"
            )
        if fps is not None and not fps > 0:
            raise SourceError(f"option fps of sim:// must be positive, but is {fps}")
        self._seed, self._frames, self._fps, self._onset = seed, frames, fps, onset
        self._range, self._size = (start, stop), size
        self._order_name = order
        self._world: _World | None = None

    def __enter__(self) -> SimSource:
        self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._world is not None:
            self._world.data.close()

    def __len__(self) -> int:
        return len(self._open().items)

    @property
    def segments(self) -> list[Segment]:
        """What happens when."""
        return self._open().segments

    @property
    def changes(self) -> list[int]:
        """Sequence numbers of the true change points: the first frame of each segment but the first."""
        return [segment.start for segment in self.segments[1:]]

    @property
    def labels(self) -> Array | None:
        """``(frames,)`` class of each frame, None where it is not known."""
        world = self._open()
        labels = world.data.labels
        return None if labels is None else labels[world.items[world.shown]]

    @property
    def names(self) -> Sequence[str]:
        """Name of each class, empty where they have none."""
        return self._open().data.names

    @property
    def fps(self) -> float:
        """Frames per second of simulated time."""
        return self._open().fps

    def __iter__(self) -> Iterator[Frame]:
        total, first = len(self), 0
        while first < total:
            size = self.clean(first).size
            stop = min(total, first + max(1, min(_CHUNK, _CHUNK_VALUES // size)))
            yield from self.read(first, stop)
            first = stop

    def read(self, first: int, stop: int) -> list[Frame]:
        """Frames ``first .. stop - 1``, the same as in the whole stream."""
        world, made = self._open(), []
        for index, segment in enumerate(world.segments):
            seqs = np.arange(max(first, segment.start), min(stop, segment.stop))
            if seqs.size:
                named, levels = _conditions(segment, seqs, world.choice)
                data = self._corrupted(segment, seqs, named, levels)
                for seq, reading, name, level in zip(seqs.tolist(), data, named, levels):
                    meta = self._meta(seq)
                    meta["corruption"] = name
                    meta["severity"] = int(level) if level == int(level) else level
                    meta["segment"] = index
                    meta["change"] = bool(index) and seq == segment.start
                    uri = f"sim://{world.data.name}"
                    made.append(Frame(reading, seq / world.fps, seq, uri, meta))
        return made

    def clean(self, frame: Frame | int) -> Array:
        """The data of a frame, or of its number, without the corruption; a day's light stays."""
        seq = frame.seq if isinstance(frame, Frame) else frame
        data: Array = self._ambient(np.array([seq]))[0]
        return data

    def _meta(self, seq: int) -> dict[str, Any]:
        world = self._open()
        item = int(world.items[world.shown[seq]])
        meta: dict[str, Any] = {"item": item}
        if world.data.labels is not None:
            label = meta["label"] = int(world.data.labels[item])
            if len(world.data.names):
                meta["label_name"] = world.data.names[label]
        if hasattr(self.schedule, "hours"):
            meta["hour"] = float(self.schedule.hours(seq / world.fps))
        return meta

    def _corrupted(
        self, segment: Segment, seqs: Array, named: list[str], levels: list[float]
    ) -> Array:
        """Data of some frames of a segment, each under its own condition."""
        world = self._open()
        out = self._ambient(seqs)
        for name, level in sorted(set(zip(named, levels)) - {("none", 0.0)}):
            mine = np.array([pair == (name, level) for pair in zip(named, levels)])
            numbers = seqs[mine]
            if find(name).places is not None and not world.data.windows:
                out[mine] = self._misread(segment, numbers, name, level)
                continue
            t_s = (numbers - _beginning(world.segments, segment)) / world.fps
            out[mine] = corrupt(
                out[mine], name, level, self._seed, first=numbers, t_s=t_s, scale=world.scale
            )
        return out

    def _misread(self, segment: Segment, seqs: Array, name: str, level: float) -> Array:
        """Samples that a wrong clock reads at other times than its own."""
        places = self._places(segment, seqs, name, level, len(self))
        below = np.floor(places).astype(int)
        weight = (places - below).astype(np.float32)[:, None]
        low = self._ambient(below)
        between: Array = low + weight * (self._ambient(np.minimum(below + 1, len(self) - 1)) - low)
        return between

    def _places(self, segment: Segment, seqs: Array, name: str, level: float, frames: int) -> Array:
        """Where in the stream of a right clock each sample of a wrong one is read, ``(n,)``."""
        fault = find(name)
        assert fault.places is not None
        draws = Draws(self._seed, seqs, seqs, np.ones(1, np.float32), stream=True)
        since = fault.places(seqs - segment.start, fault.constant(level, False), draws)[0]
        values: Array = np.clip(segment.start + since, 0, frames - 1)
        return values

    def _ambient(self, seqs: Array) -> Array:
        """Clean data of frames, in the light of their hour."""
        world = self._open()
        data = world.data.read(world.items[seqs], world.at[seqs])
        if not hasattr(self.schedule, "ambient"):
            values: Array = data.copy()
            return values
        lit: Array = self.schedule.ambient(data, seqs / world.fps, self._seed, seqs, world.scale)
        return lit

    def _open(self) -> _World:
        if self._world is None:
            self._world = self._build()
        return self._world

    def _build(self) -> _World:
        data = (
            self._data if isinstance(self._data, Dataset) else open_dataset(self._data, self._size)
        )
        kinds = {find(name).kind for name in self.corruptions}
        if (data.kind == "sensor") != (kinds == {"sensor"}) and kinds:
            fit = names("sensor") if data.kind == "sensor" else names("image") + names("camera")
            raise SourceError(
                f"{data.name} is {'a sensor' if data.kind == 'sensor' else 'images'}, which "
                f"{', '.join(self.corruptions)} is not for: take one of {', '.join(fit)}"
            )
        used = np.arange(len(data))[slice(*self._range)]
        if not used.size:
            raise SourceError(
                f"{data.name} has {len(data)} items, of which start={self._range[0]} and "
                f"stop={self._range[1]} leave none"
            )
        frames = self._frames or int(data.lengths[used].sum())
        fps = self._fps or (frames / _DAY_S if hasattr(self.schedule, "arrange") else data.fps)
        items, at = self._arranged(data, used, frames, fps)
        segments = self.schedule.segments(frames, self.corruptions, self.severity, self._onset)
        shown = np.arange(frames)
        choice = np.random.default_rng([self._seed, 1]).integers(1 << 30, size=frames)
        scale = None
        if data.kind == "sensor":
            for segment in segments if not data.windows else ():
                self._show(segment, shown, choice)
            some = np.linspace(0, frames - 1, min(frames, _SCALE_SAMPLES)).astype(int)
            scale = data.read(items[some], at[some]).std(axis=(0, 2) if data.windows else 0)
        return _World(data, fps, segments, items, at, shown, choice, scale)

    def _arranged(self, data: Dataset, used: Array, frames: int, fps: float) -> tuple[Array, Array]:
        """Item of each frame, and which of its samples."""
        order = self._order or build("order", data.order)
        labels = None if data.labels is None else data.labels[used]
        if order.needs_labels and labels is None:
            raise SourceError(
                f"order {self._order_name} goes by labels, but {data.name} has none: "
                "take order iid, given or video:RHO"
            )
        rng = np.random.default_rng([self._seed, 0])
        lengths = data.lengths[used]
        wanted = max(1, min(frames, round(frames / lengths.mean())))
        items = order.indices(len(used), wanted, labels, rng)
        if hasattr(self.schedule, "arrange") and data.kind == "image":
            items = self.schedule.arrange(items, labels, np.arange(frames) / fps, rng)
        while lengths[items].sum() < frames:
            items = np.concatenate([items, order.indices(len(used), wanted, labels, rng)])
        spans = lengths[items]
        starts = np.repeat(np.cumsum(spans) - spans, spans)[:frames]
        return np.repeat(used[items], spans)[:frames], np.arange(frames) - starts

    def _show(self, segment: Segment, shown: Array, choice: Array) -> None:
        """Note which frames a wrong clock shows in a segment."""
        if all(find(name).places is None for name in segment.corruptions):
            return
        seqs = np.arange(segment.start, segment.stop)
        conditions = list(zip(*_conditions(segment, seqs, choice)))
        for name, level in sorted(set(conditions)):
            if find(name).places is not None:
                mine = seqs[[pair == (name, level) for pair in conditions]]
                places = self._places(segment, mine, name, level, len(shown))
                shown[mine] = np.rint(places).astype(int)


def _conditions(segment: Segment, seqs: Array, choice: Array) -> tuple[list[str], list[float]]:
    """Corruption and severity of each of a segment's frames."""
    known = segment.corruptions or ("none",)
    names = [known[k % len(known)] for k in choice[seqs].tolist()]
    return names, [segment.severity_at(seq) for seq in seqs.tolist()]


def _beginning(segments: list[Segment], segment: Segment) -> int:
    """The frame at which the fault of a segment began: that of stairs is the first stair."""
    start = segment.start
    for before in reversed(segments[: segments.index(segment)]):
        if before.corruptions != segment.corruptions:
            break
        start = before.start
    return start


def _corruptions(text: str) -> tuple[str, ...]:
    """Names out of ``none``, ``all`` or a list; each is known."""
    if text in ("", "none"):
        return ()
    chosen = standard() if text == "all" else [part.strip() for part in text.split(",")]
    for name in chosen:
        find(name)
    return tuple(chosen)
