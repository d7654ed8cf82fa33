"""Which limit counts."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from diagnostics.analyses.machine_capacity import capacity
from diagnostics.machine import HostState

GIB = 1024**3
HOST = HostState(
    ram_total_bytes=64 * GIB,
    ram_available_bytes=40 * GIB,
    cgroup_version=2,
    cgroup_limit_bytes=16 * GIB,
    cgroup_used_bytes=4 * GIB,
    shm_total_bytes=32 * GIB,
    shm_used_bytes=2 * GIB,
    cores_online=32,
    cores_affinity=16,
    cores_quota=2.5,
)


def test_the_smaller_limit_counts() -> None:
    found = capacity(HOST)
    assert (found.memory_limit_bytes, found.memory_limit_source) == (16 * GIB, "cgroup v2")
    assert found.available_bytes == 12 * GIB
    assert found.used_share == 0.25
    assert (found.cores, found.cores_source) == (2, "cgroup CPU quota")
    assert found.shm_free_bytes == 30 * GIB


def test_use_and_limit_are_of_the_same_thing() -> None:
    """Others fill the machine outside of a container that is nearly empty itself."""
    found = capacity(replace(HOST, ram_available_bytes=4 * GIB))
    assert [(room.used_bytes, room.limit_bytes, room.source) for room in found.rooms] == [
        (60 * GIB, 64 * GIB, "the machine's memory"),
        (4 * GIB, 16 * GIB, "cgroup v2"),
    ]
    assert found.used_share == 60 / 64
    assert found.available_bytes == 4 * GIB
    assert found.memory_limit_bytes == 16 * GIB
    room = capacity(HOST).tightest(need_bytes=8 * GIB)
    assert room is not None
    assert room.source == "cgroup v2", "12 of 16 GiB, against 32 of 64"


def test_a_container_whose_use_is_not_known_is_not_judged_by_the_machines() -> None:
    found = capacity(replace(HOST, cgroup_used_bytes=None))
    assert [room.source for room in found.rooms] == ["the machine's memory"]
    assert found.memory_limit_bytes == 16 * GIB


def test_without_a_cgroup_the_machine_counts() -> None:
    host = replace(HOST, cgroup_limit_bytes=None, cgroup_used_bytes=None, cores_quota=None)
    found = capacity(host)
    assert (found.memory_limit_bytes, found.available_bytes) == (64 * GIB, 40 * GIB)
    assert (found.cores, found.cores_source) == (16, "processor affinity")


def test_less_than_a_core_still_runs_one_process() -> None:
    assert capacity(replace(HOST, cores_quota=0.4)).cores == 1


def test_nothing_known_is_none() -> None:
    found = capacity(HostState())
    assert found.memory_limit_bytes is None
    assert found.available_bytes is None
    assert found.used_share is None
    assert found.shm_free_bytes is None
    assert found.cores is None


@given(st.integers(1, 10**12), st.integers(0, 10**12), st.integers(1, 10**12), st.integers(0))
def test_available_never_exceeds_any_bound(total: int, free: int, limit: int, used: int) -> None:
    host = HostState(
        ram_total_bytes=total,
        ram_available_bytes=min(free, total),
        cgroup_version=1,
        cgroup_limit_bytes=limit,
        cgroup_used_bytes=used,
    )
    found = capacity(host)
    assert found.memory_limit_bytes == min(total, limit)
    assert found.available_bytes is not None
    assert 0 <= found.available_bytes <= min(total, max(0, limit - used))
