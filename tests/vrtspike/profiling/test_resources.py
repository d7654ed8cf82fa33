"""The host's load, container limits and their victims; processes, their roles and memory."""

import os
from pathlib import Path

import psutil
import pytest

from vrtspike.profiling.cgroup_load import CgroupLoad, CgroupReader, pressure
from vrtspike.profiling.host_load import CgroupMemory, HostLoad, cgroup_memory
from vrtspike.profiling.kernel_files import read_small, stall_us, table
from vrtspike.profiling.process_files import (
    Identity,
    ProportionalSizes,
    file_traffic,
    launched_rank,
    proportional_sizes,
    read_process,
)
from vrtspike.profiling.process_tree import ProcessTree, TreeRoots, tree_resident_bytes
from vrtspike.profiling.pss_sweep import PssSweep, SweepBudget

GIB = 1024**3


@pytest.fixture
def cgroup(tmp_path):
    def make(membership, files):
        for name, text in files.items():
            path = tmp_path / "cg" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "self").write_text(membership)
        return tmp_path / "cg", tmp_path / "self"

    return make


def limit_of(group):
    return cgroup_memory(64 * GIB, root=group[0], membership=group[1])


def test_the_tightest_limit_of_a_version_2_hierarchy_counts(cgroup):
    group = cgroup(
        "0::/pod/box\n",
        {
            "pod/memory.max": f"{8 * GIB}\n",
            "pod/memory.current": f"{5 * GIB}\n",
            "pod/memory.stat": f"anon 1\ninactive_file {2 * GIB}\n",
            "pod/box/memory.max": "max\n",
            "pod/box/memory.current": "1\n",
        },
    )
    assert limit_of(group) == CgroupMemory(8 * GIB, 3 * GIB)


def test_version_1_has_other_names_and_a_huge_number_for_no_limit(cgroup):
    files = {
        "memory/box/memory.limit_in_bytes": f"{4 * GIB}\n",
        "memory/box/memory.usage_in_bytes": f"{GIB}\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": "1\n",
    }
    membership = "12:cpu,cpuacct:/x\n7:memory:/box\n0::/\n"
    assert limit_of(cgroup(membership, files)) == CgroupMemory(4 * GIB, GIB)


def test_a_limit_at_the_hosts_memory_is_none(cgroup):
    files = {"memory.max": f"{64 * GIB}\n", "memory.current": "1\n"}
    assert limit_of(cgroup("0::/\n", files)) is None
    assert cgroup_memory(GIB, membership=Path("/no")) is None


STALLS = "some avg10=1.00 avg60=0 avg300=0 total=700\nfull avg10=0 avg60=0 avg300=0 total=50\n"


def test_what_a_version_2_group_suffered(cgroup):
    files = {
        "pod/cgroup.controllers": "cpu memory\n",
        "pod/memory.events": "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\n",
        "pod/cpu.max": "150000 100000\n",
        "pod/box/cgroup.controllers": "",
        "pod/box/cpu.max": "max 100000\n",
        "pod/box/cpu.stat": "usage_usec 5\nnr_throttled 4\nthrottled_usec 4321\n",
        "pod/box/memory.pressure": STALLS,
    }
    assert CgroupReader(*cgroup("0::/pod/box\n", files)).read() == CgroupLoad(
        version=2,
        oom_kills=2,
        cores_quota=1.5,
        cpu_throttled_us=4321,
        stall_us={("memory", "some"): 700, ("memory", "full"): 50},
    )


def test_what_a_version_1_group_suffered(cgroup):
    files = {
        "memory/box/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        "cpu,cpuacct/x/cpu.cfs_quota_us": "50000\n",
        "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
        "cpu,cpuacct/x/cpu.stat": "nr_periods 9\nnr_throttled 2\nthrottled_time 7000000\n",
    }
    membership = "12:cpu,cpuacct:/x\n7:memory:/box\n0::/\n"
    assert CgroupReader(*cgroup(membership, files)).read() == CgroupLoad(
        version=1, oom_kills=1, cores_quota=0.5, cpu_throttled_us=7000
    )


def test_a_machine_without_groups_suffers_nothing_known(cgroup):
    assert CgroupReader(*cgroup("", {})).read() == CgroupLoad()
    files = {"cpu/x/cpu.cfs_quota_us": "-1", "memory/tasks": ""}
    unlimited = CgroupReader(*cgroup("7:cpu:/x\n4:memory:/\n", files)).read()
    assert (unlimited.version, unlimited.cores_quota) == (1, None)


def test_files_of_the_kernel(tmp_path):
    (tmp_path / "cpu").write_text(STALLS)
    (tmp_path / "io").write_text("odd\n")
    assert pressure(tmp_path) == {("cpu", "some"): 700, ("cpu", "full"): 50}
    assert stall_us("some avg10=0 total=x\n", "some") is None
    assert table("MemTotal:  12 kB\nName: x\nempty\n") == {"MemTotal": 12}
    assert read_small(tmp_path / "nothing") is None
    assert read_small(tmp_path) is None
    (tmp_path / "long").write_text("x" * 300_000)
    assert len(read_small(tmp_path / "long")) == 1 << 18


def test_the_first_host_sample_has_no_cpu_use():
    load = HostLoad()
    first, second = load.sample(), load.sample()
    assert (first.cpu_percent, first.core_percent) == (None, None)
    assert second.cpu_percent is not None
    assert len(second.core_percent) == psutil.cpu_count()
    assert first.ram_total_bytes == psutil.virtual_memory().total
    assert first.cpus_allowed == len(os.sched_getaffinity(0))
    assert first.swap_total_bytes == psutil.swap_memory().total


def test_details_of_the_host_are_read_only_when_asked_for():
    brief = HostLoad().sample(with_details=False)
    assert brief.ram_available_bytes > 0
    assert (brief.cpus_allowed, brief.disk_read_bytes, brief.core_percent) == (None, None, None)


def test_a_tree_that_is_gone_is_empty():
    tree = ProcessTree(TreeRoots(root_pid=2**22 - 3, main_pid=1))
    assert tree.sample() == ()
    assert tree_resident_bytes(2**22 - 3) == 0


def test_shared_pages_count_once_where_the_kernel_tells():
    assert tree_resident_bytes(os.getpid(), pss=lambda process: 7) % 7 == 0
    rss = psutil.Process().memory_info().rss
    assert tree_resident_bytes(os.getpid(), pss=lambda process: None) >= rss * 0.5


def test_ranks_below_a_launcher_are_all_main():
    me = os.getpid()
    tree = ProcessTree(TreeRoots(root_pid=os.getppid(), main_pid=2**22 - 3))
    roles = {record.pid: record.role for record in tree.sample()}
    assert roles[os.getppid()] == "other"
    assert roles[me] == "main"


def test_a_process_is_what_psutil_says():
    reading, process = read_process(os.getpid()), psutil.Process()
    assert (reading.name, reading.parent_pid) == (process.name(), os.getppid())
    assert reading.rss_bytes == pytest.approx(process.memory_info().rss, rel=0.2)
    times = process.cpu_times()
    assert reading.cpu_s == pytest.approx(times.user + times.system, abs=1.0)
    pss, uss, shm, swap = proportional_sizes(os.getpid())
    assert 0 < uss <= pss <= reading.rss_bytes * 1.2
    assert 0 <= shm <= pss
    assert swap is not None
    assert read_process(2**22 - 3) is None
    assert proportional_sizes(2**22 - 3) is None


def test_what_a_process_writes_to_a_file_in_memory_counts(tmp_path):
    before = file_traffic(os.getpid()).written_bytes
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    assert file_traffic(os.getpid()).written_bytes - before >= 1 << 20
    assert file_traffic(2**22 - 3) == (None, None)


def test_what_came_from_storage_is_told_from_what_was_merely_read(monkeypatch):
    text = "rchar: 900\nwchar: 70\nread_bytes: 400\nwrite_bytes: 8\n"
    monkeypatch.setattr("vrtspike.profiling.process_files.read_small", lambda path: text)
    assert file_traffic(1) == (70, 400)


def test_storage_is_asked_with_the_details_only():
    tree = ProcessTree(TreeRoots(root_pid=os.getpid(), main_pid=os.getpid()))
    with_details, without = tree.sample()[0], tree.sample(with_details=False)[0]
    assert with_details.storage_read_bytes >= 0
    assert without.storage_read_bytes is None


def test_the_rank_is_what_the_launcher_said(monkeypatch):
    texts = {"1": "A=1\0RANK=3\0LOCAL_RANK=1\0", "2": "XRANK=1\0RANK=x\0", "3": None}
    monkeypatch.setattr(
        "vrtspike.profiling.process_files.read_small", lambda path: texts[path.split("/")[2]]
    )
    assert [launched_rank(pid) for pid in (1, 2, 3)] == [3, None, None]


def test_a_name_with_brackets_does_not_shift_the_fields(monkeypatch):
    stat = "7 (a) b (c) S 1 " + " ".join(str(place) for place in range(2, 50))
    files = {"stat": stat, "statm": "100 20 5 1 0 9 0"}
    monkeypatch.setattr(
        "vrtspike.profiling.process_files.read_small", lambda path: files[path.split("/")[-1]]
    )
    reading = read_process(7)
    assert (reading.name, reading.parent_pid) == ("a) b (c", 1)
    assert reading.identity == Identity(7, 19)
    page = os.sysconf("SC_PAGE_SIZE")
    assert (reading.rss_bytes, reading.shared_bytes) == (20 * page, 5 * page)


def test_a_zombie_is_no_process_of_the_tree():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        pids = [record.pid for record in ProcessTree(roots_here()).sample()]
        assert os.getpid() in pids
        assert child not in pids
    finally:
        os.waitpid(child, 0)


def roots_here():
    return TreeRoots(root_pid=os.getpid(), main_pid=os.getpid())


def test_cpu_use_is_time_over_time_and_a_recycled_number_starts_anew(monkeypatch):
    now, cpu, start = [100.0], [3.0], [7]

    def read(pid):
        if pid != 5:
            return None
        return reading_of(pid, start[0], cpu[0])

    monkeypatch.setattr("vrtspike.profiling.process_tree.read_process", read)
    monkeypatch.setattr("vrtspike.profiling.process_tree.children", lambda pid: [])
    roots = TreeRoots(root_pid=5, main_pid=5)
    sweep = PssSweep(read=lambda pid: ProportionalSizes(30, 20, 8, 4))
    tree = ProcessTree(roots, sweep, lambda: now[0])
    assert tree.sample()[0].cpu_percent is None
    now[0], cpu[0] = 100.5, 3.25
    sweep.join()
    (second,) = tree.sample()
    assert second.cpu_percent == 50
    assert (second.pss_bytes, second.uss_bytes) == (30, 20)
    assert (second.pss_shm_bytes, second.swap_bytes) == (8, 4)
    now[0], start[0] = 101.0, 8
    (third,) = tree.sample()
    assert (third.cpu_percent, third.pss_bytes) == (None, None)


def reading_of(pid, start, cpu_s):
    own = read_process(os.getpid())
    return type(own)(
        identity=Identity(pid, start),
        parent_pid=1,
        name="python",
        cpu_s=cpu_s,
        rss_bytes=1,
        shared_bytes=1,
    )


def test_sweeps_keep_to_a_thousandth_of_a_core():
    budget = SweepBudget(every_s=10, max_core_share=0.001)
    assert budget.is_due(0)
    budget.spent(0, 0.001)
    assert [budget.is_due(at) for at in (9.9, 10)] == [False, True]
    budget.spent(10, 0.05)
    assert [budget.is_due(at) for at in (59.9, 60)] == [False, True]


def test_a_sweep_is_handed_out_once_and_leaves_out_what_cannot_be_read():
    one, two = Identity(1, 5), Identity(2, 5)
    sweep = PssSweep(SweepBudget(), read=lambda pid: ProportionalSizes(10, 4) if pid == 1 else None)
    sweep.offer([one, two], 0.0)
    sweep.join()
    assert sweep.take() == {one: ProportionalSizes(10, 4)}
    assert sweep.take() == {}
    sweep.offer([one], 1.0)
    sweep.join()
    assert sweep.take() == {}
