"""Every file in tta/buffers/ keeps the contract of a buffer."""

import importlib
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bundles import bundle
from tta import registry
from tta.errors import NotFoundError, TtaError
from tta.protocols import Buffer
from tta.records import Frame, Prediction, Selection
from tta.runtime.buffer import make_buffer

NAMES = registry.names("tta.buffers")
K = 4


def own(name, batch=8):
    """The buffer, made anew with its defaults, as a stream makes it."""
    return make_buffer(name, batch, bundle("fashion:factory").manifest)


def answer(label, sureness):
    """An answer for a class, with its share of the probability."""
    p = np.full(K, (1 - sureness) / (K - 1), np.float32)
    p[label] = sureness
    entropy = -float((p * np.log(np.maximum(p, 1e-30))).sum())
    return Prediction({"logits": p}, p, entropy, 0.0, "")


def offers(n, seed=0):
    """Frames with their inputs (2,) and answers: runs of classes, sure and unsure."""
    rng = np.random.default_rng(seed)
    for k in range(n):
        x = np.float32([k, rng.random()])
        yield Frame(x, k / 30, k), x, answer(k // 5 % K, 0.3 + 0.69 * rng.random())


def fed(buffer, items):
    """The buffer after some frames, rounds taken as they are due; and those rounds."""
    rounds = []
    for item in items:
        buffer, _ = buffer.add(*item)
        if buffer.due:
            chosen, buffer = buffer.take()
            rounds.append(chosen)
    return buffer, rounds


def same(a, b):
    """Whether two buffers keep the same, attribute by attribute."""
    mine, theirs = vars(a), vars(b)
    assert mine.keys() == theirs.keys()
    return all(repr(mine[k]) == repr(theirs[k]) for k in mine)


def equal(a, b):
    return len(a) == len(b) and all(
        np.array_equal(x.inputs, y.inputs)
        and (x.weight is None) == (y.weight is None)
        and (x.weight is None or np.array_equal(x.weight, y.weight))
        for x, y in zip(a, b)
    )


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def test_it_says_what_it_is(name):
    made = registry.load("tta.buffers", name)
    assert importlib.import_module(made.__module__).__doc__.strip().endswith(".")
    assert made.__doc__.split("\n\n")[0].strip().endswith(".")
    assert "Memory:" in made.__doc__, "the docstring says what it keeps"
    if name != "batch":
        assert re.search(r"\b(19|20)\d\d\b", made.__doc__), "the docstring cites no paper"


def test_it_plays_its_role(name):
    buffer = own(name)
    role = [m for m in vars(Buffer) if not m.startswith("_")]
    assert [member for member in role if not hasattr(buffer, member)] == []
    assert 1 <= buffer.least <= buffer.size and len(buffer) == 0 and not buffer.due
    assert buffer.look() is None


def test_adding_changes_no_buffer(name):
    """It is a value: the old one is a snapshot."""
    buffer, _ = fed(own(name), offers(100))
    before = dict(vars(buffer))
    for item in offers(9, seed=5):
        later, dropped = buffer.add(*item)
        assert isinstance(dropped, int) and dropped >= 0
    later.look(), later.renewed(), later.empty()
    if len(buffer):
        buffer.take()
    assert vars(buffer).keys() == before.keys()
    assert all(vars(buffer)[k] is before[k] for k in before)


def test_taking_changes_no_buffer(name):
    buffer, _ = fed(own(name), offers(61))
    (first, after), (again, also) = buffer.take(), buffer.take()
    assert equal([first], [again]) and same(after, also)
    first.inputs[:] = -1  # a method that writes into its batch must not reach what is kept
    assert equal([again], [buffer.take()[0]])


def test_a_replay_is_exact(name):
    """The same frames and answers give the same rounds; from a snapshot in the middle, too."""
    items = list(offers(900))
    _, rounds = fed(own(name), items)
    assert len(rounds) >= 3 and equal(rounds, fed(own(name), items)[1])
    half, first = fed(own(name), items[:150])
    fed(half, offers(40, seed=9))  # another stream goes on from the snapshot
    assert equal(rounds, [*first, *fed(half, items[150:])[1]])


def test_empty_is_as_before_the_first_frame(name):
    items = list(offers(200))
    used, _ = fed(own(name), offers(77, seed=3))
    assert len(used.empty()) == 0
    (end, a), (fresh, b) = fed(used.empty(), items), fed(own(name), items)
    assert equal(a, b) and same(end, fresh)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_rounds_are_whole_and_of_frames_that_came(data):
    """Never padded, never a frame twice, never one from the future, weights in 0..1."""
    buffer = own(data.draw(st.sampled_from(NAMES)))
    steps = data.draw(
        st.lists(st.tuples(st.integers(0, K - 1), st.floats(0.26, 1), st.booleans()), max_size=150)
    )
    known = set()
    for k, (label, sureness, served) in enumerate(steps):
        x = np.float32([k, 0])
        buffer, _ = buffer.add(Frame(x, 0.0, k), x, answer(label, sureness))
        assert len(buffer) <= buffer.size
        if (seen := buffer.look()) is not None:
            assert len(seen) >= 8 and seen.max() <= k
        if not (buffer.due and served):  # a round may come late
            continue
        chosen, buffer = buffer.take()
        assert isinstance(chosen, Selection) and not buffer.due
        numbers = chosen.inputs[:, 0].astype(int).tolist()
        assert buffer.least <= len(chosen) <= buffer.size
        assert len(set(numbers)) == len(numbers) and numbers == sorted(numbers)
        assert all(0 <= n <= k for n in numbers)
        fresh = np.ones(len(chosen), bool) if chosen.fresh is None else chosen.fresh
        assert [n not in known for n in numbers] == fresh.tolist()
        known.update(numbers)
        if chosen.weight is not None:
            assert chosen.weight.dtype == np.float32 and chosen.weight.shape == (len(chosen),)
            assert ((chosen.weight >= 0) & (chosen.weight <= 1)).all()
        if buffer.partition:
            assert [f.seq for f in chosen.frames] == numbers


def test_renewed_keeps_only_what_no_round_had(name):
    buffer = own(name)
    for item in offers(300):
        buffer, _ = buffer.add(*item)
    assert buffer.due
    _, buffer = buffer.take()
    assert len(buffer.renewed()) == 0
    later, _ = fed(buffer, list(offers(3, seed=1)))
    assert len(later.renewed()) <= 3


def test_moved_keeps_nothing_from_before_the_last_round(name):
    buffer, old = own(name), set()
    for k, item in enumerate(offers(500)):
        old.add(float(item[1][0]))
        buffer, _ = buffer.add(*item)
        if buffer.due:
            _, buffer = buffer.take()
            if k > 200:
                break
    for item in ((f, x + 1000, p) for f, x, p in offers(200, seed=1)):
        buffer, _ = buffer.add(*item)
        if buffer.due:
            _, buffer = buffer.take()
            break
    moved, late = buffer.moved(), [(f, x + 2000, p) for f, x, p in offers(300, seed=2)]
    for item in late:
        moved, _ = moved.add(*item)
        if moved.due:
            break
    assert moved.due or name == "reliable"  # which waits where few classes are answered
    if moved.due:
        kept = {float(x[0]) for x in moved.take()[0].inputs}
        assert not kept & old


def test_after_a_jump_frames_of_one_class_are_enough_for_a_round():
    buffer, _ = fed(own("reservoir?capacity=32&period=20&least=20"), list(offers(200)))
    one = answer(1, 0.9)
    for k in range(20):
        buffer, _ = buffer.add(Frame(np.zeros(2), k / 30, k), np.float32([k, 0]), one)
    buffer = buffer.take()[1].moved()
    assert 0 < len(buffer) <= 8 + 1  # of one class no more than its share were kept
    for k in range(20, 40):
        buffer, _ = buffer.add(Frame(np.zeros(2), k / 30, k), np.float32([k, 0]), one)
    assert buffer.due and len(buffer) == 20


def test_a_round_that_is_late_by_ever_so_much_is_still_finite(name):
    buffer, late = own(name), list(offers(12))
    for item in late:
        buffer, _ = buffer.add(*item)
    x = np.float32([0, 0])
    for _ in range(60_000 if name == "reservoir" else 200):
        buffer, _ = buffer.add(Frame(x, 0.0, 0), x, answer(0, 0.99))
    chosen, _ = buffer.take()
    assert np.isfinite(chosen.inputs).all()
    assert chosen.weight is None or np.isfinite(chosen.weight).all()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("batch?size=0", "from 1 on"),
        ("window?size=0", "from 1 on"),
        ("window?stride=-1", "from 0 on"),
        ("window?size=many", "an integer"),
        ("reservoir?capacity=0", "from 1 on"),
        ("reservoir?capacity=8&least=9", "never holds"),
        ("reservoir?timeliness=-1", "weights from 0 on"),
        ("reliable?margin=0", "share of ln K"),
        ("reliable?d=2", "cosine"),
    ],
)
def test_bad_options(text, word):
    with pytest.raises(TtaError, match=word):
        own(text)


def test_unknown_ones_name_the_nearest():
    with pytest.raises(NotFoundError, match="no buffer named 'reservoire'; known: reservoir"):
        own("reservoire")
    with pytest.raises(
        NotFoundError, match="buffer 'window' has no option 'capacity'; it has: size"
    ):
        own("window?capacity=3")


@pytest.mark.parametrize(("expiry", "oldest"), [(0, 0), (40, 60)])
def test_a_reservoir_may_let_frames_expire(expiry, oldest):
    """Ten frames of class 0, then ninety of class 1: the first stay, unless they expire."""
    buffer = own(f"reservoir?capacity=16&expiry={expiry}")
    for k in range(100):
        buffer, _ = buffer.add(
            Frame(np.zeros(2), k / 30, k), np.float32([k, 0]), answer(int(k >= 10), 0.9)
        )
    kept = [float(x[0]) for x in buffer.take()[0].inputs]
    assert (min(kept) < 10) == (expiry == 0) and min(kept) >= oldest
