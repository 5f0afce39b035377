"""Boards recognise themselves: by device tree, power model file or architecture."""

from fnmatch import fnmatchcase

import pytest

from tests.devices.boards import BUNDLE
from tta.cli import main
from tta.devices.machine import Machine
from tta.devices.recognition import recognise, resolve, unsupported
from tta.errors import NotFoundError

KNOWN = [
    ("Raspberry Pi 4 Model B Rev 1.4", ["raspberrypi,4-model-b", "brcm,bcm2711"], "rpi4"),
    ("Raspberry Pi 400 Rev 1.0", ["raspberrypi,400", "brcm,bcm2711"], "rpi4"),
    ("Raspberry Pi Compute Module 4 Rev 1.0", ["raspberrypi,4-compute-module"], "rpi4"),
    ("Raspberry Pi 5 Model B Rev 1.0", ["raspberrypi,5-model-b", "brcm,bcm2712"], "rpi5"),
    ("Raspberry Pi Zero 2 W Rev 1.0", ["raspberrypi,model-zero-2-w", "brcm,bcm2837"], "rpi-zero-2w"),
    (
        "NVIDIA Jetson Orin Nano Developer Kit",
        ["nvidia,p3768-0000+p3767-0005", "nvidia,p3767-0005", "nvidia,tegra234"],
        "jetson-orin-nano",
    ),
    ("Some carrier", ["acme,x1+p3767-0004", "nvidia,p3767-0004"], "jetson-orin-nano"),
    (
        "NVIDIA Jetson AGX Orin Developer Kit",
        ["nvidia,p3737-0000+p3701-0000", "nvidia,p3701-0000", "nvidia,tegra234"],
        "jetson-agx-orin",
    ),
    ("Jetson AGX Orin", ["nvidia,p3737-0000+p3701-0005", "nvidia,tegra234"], "jetson-agx-orin"),
]  # fmt: skip


def tree(root, model, compatible, at="proc/device-tree"):
    (root / at).mkdir(parents=True)
    (root / at / "model").write_bytes(model.encode() + b"\0")
    (root / at / "compatible").write_bytes(b"".join(name.encode() + b"\0" for name in compatible))


def machine(root, architecture="aarch64"):
    return Machine(root=root, architecture=architecture)


@pytest.mark.parametrize(("model", "compatible", "name"), KNOWN)
def test_by_device_tree(tmp_path, model, compatible, name):
    tree(tmp_path, model, compatible)
    found = recognise(machine(tmp_path))
    assert (found.name, found.board, found.known) == (name, model, True)
    assert found.how == "device tree"


def test_by_the_other_place_of_the_device_tree(tmp_path):
    tree(tmp_path, *KNOWN[3][:2], at="sys/firmware/devicetree/base")
    assert recognise(machine(tmp_path)).name == "rpi5"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("nvpmodel_p3767_0003.conf", "jetson-orin-nano"),
        ("nvpmodel_p3701_0000.conf", "jetson-agx-orin"),
    ],
)
def test_by_the_power_model_where_a_container_hides_the_tree(tmp_path, file, name):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "nvpmodel.conf").symlink_to(f"/etc/nvpmodel/{file}")
    found = recognise(machine(tmp_path))
    assert found.name == name and found.how == "/etc/nvpmodel.conf"


def test_a_jetson_without_a_profile(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "nv_tegra_release").write_text("# R36")
    found = recognise(machine(tmp_path))
    assert (found.name, found.known) == ("generic-arm64", False) and "a Jetson" in found.told


def test_a_pc_by_its_architecture_and_name(tmp_path):
    folder = tmp_path / "sys/class/dmi/id"
    folder.mkdir(parents=True)
    (folder / "sys_vendor").write_text("LENOVO\n")
    (folder / "product_name").write_text("20XW\n")
    found = recognise(machine(tmp_path, "x86_64"))
    assert (found.name, found.board, found.known) == ("desktop", "LENOVO 20XW", True)


@pytest.mark.parametrize(
    ("architecture", "name"),
    [("aarch64", "generic-arm64"), ("riscv64", "desktop"), ("armv7l", "desktop")],
)
def test_others_are_served_by_a_common_denominator_and_told(tmp_path, architecture, name):
    found = recognise(machine(tmp_path, architecture))
    assert (found.name, found.known) == (name, False)
    assert architecture in found.told and f"served as {name}" in found.told


@pytest.mark.parametrize(
    ("model", "compatible", "title"),
    [
        ("Raspberry Pi Zero W Rev 1.1", ["raspberrypi,model-zero-w", "brcm,bcm2835"], "and Zero"),
        ("Raspberry Pi 2 Model B Rev 1.1", ["raspberrypi,2-model-b", "brcm,bcm2836"], "Pi 2"),
        ("NVIDIA Jetson Nano Developer Kit", ["nvidia,p3450-0000", "nvidia,tegra210"], "Nano"),
        ("NVIDIA Jetson Xavier NX", ["nvidia,p3509-0000+p3668-0000", "nvidia,tegra194"], "Xavier"),
        ("Freescale i.MX8MQ Phanbell", ["fsl,imx8mq-phanbell", "fsl,imx8mq"], "Coral"),
    ],
)
def test_boards_that_are_not_supported(tmp_path, model, compatible, title):
    tree(tmp_path, model, compatible)
    found = recognise(machine(tmp_path))
    (entry,) = [e for name, e in unsupported().items() if title in name]
    assert (found.known, found.unsupported) == (False, entry["why"])
    assert "is not supported" in found.told


def test_unsupported_boards_have_reasons_and_no_profile():
    for title, entry in unsupported().items():
        assert entry["why"] and entry["source"] and entry["recognise"], title
    for model, compatible, _ in KNOWN:
        for entry in unsupported().values():
            hit = [
                (name, pattern)
                for name in [model, *compatible]
                for pattern in entry["recognise"]
                if fnmatchcase(name, pattern)
            ]
            assert not hit


def test_a_name_wins_over_what_the_board_is(tmp_path):
    tree(tmp_path, *KNOWN[0][:2])
    profile, found = resolve("rpi5", machine(tmp_path))
    assert profile.name == "rpi5" and found.known and found.board == KNOWN[0][0]
    assert found.how == "named with --device, on what looks like rpi4"
    assert resolve("auto", machine(tmp_path))[0].name == "rpi4"
    assert resolve("rpi4", machine(tmp_path))[1].how == "named with --device"
    with pytest.raises(NotFoundError, match="no device named 'rpi6'"):
        resolve("rpi6", machine(tmp_path))


def test_run_says_that_it_does_not_know_the_board(tmp_path, monkeypatch, capsys):
    tree(tmp_path, "Radxa ROCK 5B", ["radxa,rock-5b"])
    monkeypatch.setattr("tta.devices.recognition.Machine", lambda: machine(tmp_path))
    words = [BUNDLE, "synthetic://?shape=28x28x1&dtype=uint8&frames=4", "--sink", "null"]
    assert main(["run", *words]) == 0
    err = capsys.readouterr().err
    assert "no profile for Radxa ROCK 5B" in err and "served as generic-arm64" in err
    assert main(["run", *words, "--device", "desktop"]) == 0
    assert "no profile" not in capsys.readouterr().err
