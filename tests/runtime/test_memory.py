"""Memory that is left, as control groups of both layouts tell it."""

import pytest

from tta.runtime import memory

MIB = 2**20


def group(folder, names, limit, used, idle):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in zip(names, (limit, used)):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {idle}\n")


@pytest.fixture
def machine(tmp_path):
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    root.mkdir()

    def at(line):
        (proc / "self/cgroup").write_text(f"1:name=systemd:/\n{line}\n")
        return memory._group_mib(root, proc)

    return root, at


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


def test_the_limit_of_a_service_is_seen(machine):
    """As systemd sets it with MemoryMax: on the service's own group, not on the topmost."""
    root, at = machine
    group(root / "system.slice/tta.service", V2, 256 * MIB, 200 * MIB, 0)
    assert at("0::/system.slice/tta.service") == [56]


def test_a_limit_above_counts_too(machine):
    root, at = machine
    group(root / "a/b", V2, "max", 10 * MIB, 0)
    group(root / "a", V2, 100 * MIB, 90 * MIB, 0)
    assert at("0::/a/b") == [10]


def test_a_container_shows_its_own_group_as_the_topmost(machine):
    root, at = machine
    group(root, V2, 100 * MIB, 40 * MIB, 0)
    assert at("0::/") == [60]
    assert at("0::/docker/of-the-host") == [60]


def test_the_older_layout(machine):
    root, at = machine
    group(root / "memory/box", V1, 100 * MIB, 40 * MIB, 10 * MIB)
    assert at("4:memory:/box") == [70]


def test_cached_files_are_no_reason_to_refuse(machine):
    """A clip that was read through fills the group; the kernel drops it when memory is asked for."""
    root, at = machine
    group(root, V2, 256 * MIB, 256 * MIB, 150 * MIB)
    assert at("0::/") == [150]


def test_without_control_groups_nothing_is_said(machine):
    _, at = machine
    assert at("0::/") == []
