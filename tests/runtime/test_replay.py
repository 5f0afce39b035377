"""``tta replay``: the same bits and states, or the first frame that differs."""

import numpy as np

from tta.cli import main

URI = "synthetic://?shape=28x28&frames=60&dtype=uint8&seed=2"


def recorded(bundle, folder, *words):
    given = [
        "run",
        str(bundle.path),
        URI,
        "--sink",
        "null",
        "--adapter",
        "bn_stats",
        "--batch",
        "8",
    ]
    return main([*given, "--threads", "1", "--record", str(folder), *words])


def test_the_same_bits_or_the_first_that_differs(bundle, tmp_path, capsys):
    assert recorded(bundle, tmp_path / "r", "--record-choose", "all") == 0
    assert main(["replay", str(tmp_path / "r")]) == 0
    assert "stream: 60 of 60 frames the same" in capsys.readouterr().out
    path = tmp_path / "r" / "stream" / "0000000041.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["probabilities"] = np.nextafter(arrays["probabilities"], 2).astype(np.float32)
    np.savez(path, **arrays)
    assert main(["replay", str(tmp_path / "r")]) == 1
    assert "41 of 60 frames the same; differs: frame 41 has other prob" in capsys.readouterr().out
    assert recorded(bundle, tmp_path / "r", "--record-choose", "all") == 1
    assert "name a new folder" in capsys.readouterr().err


def test_a_sample_has_no_replay(bundle, tmp_path, capsys):
    assert recorded(bundle, tmp_path / "r") == 0
    assert main(["replay", str(tmp_path / "r")]) == 1
    assert "--record-choose all" in capsys.readouterr().err
