"""Hand-made recordings whose figures can be counted on fingers."""

from tta.evaluation.record import Recording, Row, Segment


def row(segment, k, *, label=0, clean=None, frozen=0, adapted=0, level="ok", **more):
    """A row that is right by default."""
    given = {
        "shift": "clean",
        "severity": 0.0,
        "frozen_confidence": 0.75,
        "adapted_confidence": 0.5,
    }
    return Row(seq=k, t_s=k / 10, segment=segment, label=label, clean=clean, frozen=frozen,
               adapted=adapted, level=level, **{**given, **more})  # fmt: skip


def recording(lengths, make, titles=None, **about):
    """Segments of those lengths; ``make(segment, k)`` gives each row."""
    rows, segments = [], []
    for s, n in enumerate(lengths):
        name, severity = titles[s] if titles else ("clean", 0.0)
        start = len(rows)
        segments.append(Segment(name, severity, start, start + n))
        rows += [make(s, start + k) for k in range(n)]
    about = {"model": "Net", "adapter": "tent", "batch": 4, "source": "here", **about}
    counts = {
        "frames": len(rows),
        "skipped": 0,
        "commits": 1,
        "holds": 0,
        "resets": 0,
        "rollbacks": 0,
    }
    return Recording(about, rows, segments, {"entropy": 0.5}, ("stem", "head"), counts)
