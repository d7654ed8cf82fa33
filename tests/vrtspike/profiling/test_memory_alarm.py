"""The early warning: in time and with a name, and never while a run warms up."""

import json
import math
import os
import queue
import random
from itertools import pairwise

import pytest

from tests.vrtspike.profiling.conftest import FakeClock
from vrtspike.profiling.log_lines import memory_warning
from vrtspike.profiling.machine_records import HostRecord, ProcessRecord
from vrtspike.profiling.machine_sampling import MachineSampling, cache_budget_bytes
from vrtspike.profiling.memory_alarm import (
    MAX_WARNINGS,
    Grower,
    MemoryAlarm,
    MemoryWarning,
    slope,
    tightest_room,
)
from vrtspike.profiling.process_tree import TreeRoots
from vrtspike.profiling.resource_sampler import Sampling, Tick
from vrtspike.profiling.sampler_process import SamplerProcess

MIB, GIB = 1 << 20, 1 << 30


def host(free, total=64 * GIB, shmem=0, **more):
    fields = {"cpus_allowed": 2, "shmem_bytes": int(shmem), **more}
    return HostRecord(
        ram_total_bytes=total, ram_available_bytes=int(free), ram_percent=0.0, **fields
    )


def boxed(used, limit=2 * GIB, version=2, **more):
    """A machine with plenty of memory and a container that has little."""
    return host(
        50 * GIB,
        cgroup_limit_bytes=limit,
        cgroup_used_bytes=int(used),
        cgroup_version=version,
        **more,
    )


def process(pid, own, role="worker"):
    return ProcessRecord(
        pid=pid, role=role, name="python", rss_bytes=int(own) + 5 * MIB, shared_bytes=5 * MIB
    )


def warnings(samples, alarm=None):
    """What an alarm says of one sample a second, with the second."""
    alarm = alarm or MemoryAlarm()
    judged = ((at, alarm.judge(float(at), *sample)) for at, sample in enumerate(samples))
    return [(at, warning) for at, warning in judged if warning is not None]


def leak(seconds, rate, version):
    """A loader process that takes `rate` of 2 GiB, of which the run holds 1 GiB at first."""
    noise = random.Random(3)
    for at in range(seconds):
        grown = rate * at + noise.uniform(-4, 4) * MIB
        processes = (process(10, GIB, "main"), process(11, grown), process(12, 20 * MIB))
        yield boxed(GIB + max(0, grown), version=version), processes


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("rate_mib", [2, 10, 60])
def test_a_leak_is_told_before_the_end_and_with_its_process(version, rate_mib):
    end_s = GIB / (rate_mib * MIB)
    said = warnings(leak(int(end_s), rate_mib * MIB, version))
    at_s, first = said[0]
    assert first.seconds_left == pytest.approx(end_s - at_s, rel=0.3)
    assert end_s - at_s >= min(10, 0.2 * end_s)
    assert [(each.what, each.pid) for each in first.growers] == [("loader process", 11)]
    assert first.growers[0].bytes_per_s == pytest.approx(rate_mib * MIB, rel=0.2)
    assert first.room.source == f"its container (cgroup v{version})"
    gaps = [late - early for (early, _), (late, _) in pairwise(said)]
    assert all(gap >= 10 for gap in gaps)


def rising(share_at, seconds=300, total=64 * GIB):
    for at in range(seconds):
        used = share_at(at) * total
        yield host(total - used, total), (process(10, used, "main"),)


@pytest.mark.parametrize("tau_s", [3.0, 10.0, 30.0])
@pytest.mark.parametrize("level", [0.6, 0.85, 0.9])
def test_growth_that_runs_down_is_no_warning(tau_s, level):
    assert not warnings(rising(lambda at: level * (1 - math.exp(-at / tau_s))))


def test_a_run_that_starts_large_and_then_stands_is_no_warning():
    assert not warnings(rising(lambda at: 0.92 * min(1.0, at / 6)))


def test_noise_a_peak_and_a_step_are_no_trend():
    noise = random.Random(1)
    assert not warnings(rising(lambda at: 0.88 + noise.uniform(-0.02, 0.02), 2000))
    assert not warnings(rising(lambda at: 0.93 if at % 50 < 5 else 0.80, 400))
    assert not warnings(rising(lambda at: 0.78 if at < 60 else 0.90))


def test_memory_that_becomes_free_is_no_warning():
    assert not warnings(rising(lambda at: max(0.2, 0.93 - 0.01 * at)))


def test_hardly_anything_left_is_said_seldom_until_it_grows():
    said = warnings(rising(lambda at: 0.96, 700))
    assert [at for at, _ in said] == [2, 602]
    assert said[0][1].seconds_left is None
    said = warnings(rising(lambda at: 0.96 + (0.0004 * (at - 100) if at > 100 else 0), 190))
    assert len(said) >= 2
    assert 0 < said[1][1].seconds_left < 300


def filling(seconds, rate, used, total=64 * GIB):
    """A cache in shared memory that grows beside everything else."""
    for at in range(seconds):
        cache = rate * at
        yield host(total - used - cache, total, shmem=cache), (process(10, GIB, "main"),)


def test_a_cache_that_fills_up_to_its_budget_is_wanted():
    samples = list(filling(100, 300 * MIB, 28 * GIB))
    assert not warnings(samples, MemoryAlarm(cache_bytes=30 * GIB))
    ((_, first), *_) = warnings(samples)
    assert first.growers[0].what == "shared memory"


def test_a_leak_beside_a_cache_counts_what_the_cache_will_still_take():
    def samples():
        for at in range(400):
            cache, leaked = min(20 * GIB, 60 * MIB * at), 60 * MIB * at
            free = 64 * GIB - 20 * GIB - cache - leaked
            yield host(max(0, free), shmem=cache), (process(10, leaked, "main"),)

    ((at_s, first), *_) = warnings(samples(), MemoryAlarm(cache_bytes=20 * GIB))
    assert first.growers[0].pid == 10
    assert first.bytes_per_s == pytest.approx(60 * MIB, rel=0.05)
    assert at_s + first.seconds_left == pytest.approx(24 * GIB / (60 * MIB), rel=0.05)


def test_what_other_programs_take_is_no_process_of_the_run():
    ((_, first), *_) = warnings(
        (host(16 * GIB - 200 * MIB * at), (process(10, GIB, "main"),)) for at in range(60)
    )
    assert [(each.what, each.pid) for each in first.growers] == [("nothing of this run", None)]


def test_samples_without_the_containers_figures_are_not_looked_at():
    alarm = MemoryAlarm()
    for at in range(100):
        assert alarm.judge(float(at), host(0, cpus_allowed=None), ()) is None


def test_it_falls_silent_in_the_end():
    said = warnings(rising(lambda at: 0.99, 40_000))
    assert len(said) == MAX_WARNINGS


def test_the_fuller_memory_counts():
    assert tightest_room(host(10 * GIB)).source == "the machine"
    full = tightest_room(boxed(1.9 * GIB, version=1))
    assert (full.limit_bytes, full.source) == (2 * GIB, "its container (cgroup v1)")


def test_one_jump_does_not_move_the_slope():
    values = [2.0 * at + (100 if at == 4 else 0) for at in range(9)]
    assert slope(range(9), values) == pytest.approx(2.0, abs=0.5)
    assert slope([0, 1], [0, 5]) == 0.0


def test_the_line_says_what_is_left_how_long_and_who():
    (_, first), *_ = warnings(leak(100, 10 * MIB, 2))
    line = memory_warning({**first.values(), "free_bytes": 300 * MIB, "seconds_left": 29.6})
    assert line.startswith(
        "[memory] WARNING: 0.3 GiB left of 2.0 GiB (its container (cgroup v2)), 10."
    )
    assert "about 30 s until the kernel ends a process. Growing: loader process 11 by" in line
    still = memory_warning({"free_bytes": GIB, "limit_bytes": 64 * GIB, "source": "the machine"})
    assert still == (
        "[memory] WARNING: 1.0 GiB left of 64.0 GiB (the machine): when nothing is left, the "
        "kernel ends a process"
    )


def test_the_budget_of_a_cache_is_that_of_the_configuration():
    data = {"USE_RAM_CACHE": True, "CACHE_SIZE_GB": 1.5}
    assert cache_budget_bytes({"DATA": data}) == 1.5 * GIB
    assert cache_budget_bytes({"DATA": {**data, "USE_RAM_CACHE": False}}) == 0
    assert cache_budget_bytes({"DATA": {**data, "CACHE_SIZE_GB": "4"}}) == 0
    assert cache_budget_bytes({"DATA": 3}) == cache_budget_bytes({}) == 0


class Warned(MemoryAlarm):
    """Warns of every sample."""

    def judge(self, at_s, host, processes):
        return MemoryWarning(
            room=tightest_room(boxed(GIB)),
            bytes_per_s=2.0 * MIB,
            seconds_left=12.0,
            growers=(Grower(what="loader process", pid=7, bytes_per_s=2.0 * MIB),),
        )


def test_a_warning_stands_in_the_file_and_is_told_the_trainer(tmp_path):
    path, told, me = tmp_path / "resources.host.jsonl", [], os.getpid()
    roots = TreeRoots(root_pid=me, main_pid=me)
    sampling = Sampling(path, roots, 0.2, FakeClock(), alarm=Warned(), tell=told.append)
    sampling.sample(Tick(elapsed_s=0.0, missed=0))
    sampling.close()
    sample, event = (json.loads(line) for line in path.read_text().splitlines())
    assert sample["kind"] == "resources"
    assert (event["kind"], event["name"]) == ("event", "memory_running_out")
    assert event["values"]["grower1_pid"] == 7
    assert [json.loads(line) for line in told] == [event]


def test_the_trainer_hands_on_whole_lines_alone(tmp_path, caplog):
    heard = []

    class Host:
        facts_dir = tmp_path

        def event(self, name, **values):
            heard.append((name, values))

    part = MachineSampling(tmp_path / "nowhere" / "resources.jsonl", 0.2)
    part.heard(b'{"name":"early","values":{}}\n')
    part.start(Host())
    heard.clear()
    for line in (b'{"name":"memory_running_out","values":{"a":1}}\n', b'{"name":"cut', b"[]\n"):
        part.heard(line)
    part.finish()
    assert heard == [("memory_running_out", {"a": 1})]
    assert caplog.text == ""


def test_a_rank_without_a_log_says_it_on_standard_error(tmp_path, caplog):
    class Host:
        facts_dir = tmp_path

        def event(self, name, **values):
            del name, values

    part = MachineSampling(tmp_path / "nowhere" / "resources.jsonl", 0.2, has_log=False)
    part.start(Host())
    part.heard(b'{"name":"memory_running_out","values":{"free_bytes":1073741824}}\n')
    part.heard(b'{"name":"other","values":{}}\n')
    (record,) = caplog.records
    assert record.message.startswith("[memory] WARNING: 1.0 GiB left of ?")


def test_the_sampler_beside_a_trainer_tells_it_at_once(tmp_path):
    told = queue.Queue()
    sampler = SamplerProcess(tmp_path / "resources.jsonl", 0.05, heard=told.put)
    process = sampler._process
    assert process is not None
    assert process.stdout is not None
    assert sampler.stop() is None
    assert told.empty()
