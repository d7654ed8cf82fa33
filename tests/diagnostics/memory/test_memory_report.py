"""The memory report: sections, escaping, width, JSON keys, and the same facts in both."""

import io
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from diagnostics.analyses.machine_jobs import Job, Member
from diagnostics.analyses.memory_demand import Demand
from diagnostics.machine import GpuState, GpuStates, HostState, ProcessState
from diagnostics.report.memory_build import FIELD_WORDS, build_memory_report
from diagnostics.report.memory_json import to_json
from diagnostics.report.memory_model import MachineView, MemoryReport, RunView
from diagnostics.report.memory_terminal import MAX_PROCESSES, render_terminal
from diagnostics.run import Input
from tests.diagnostics.memory.demands import DEMAND, GIB, MIB, machine

HOST = HostState(
    ram_total_bytes=64 * GIB,
    ram_available_bytes=60 * GIB,
    swap_total_bytes=0,
    swap_used_bytes=0,
    shm_total_bytes=32 * GIB,
    shm_used_bytes=0,
    cores_online=8,
    cores_affinity=8,
    unknown={"cgroup_limit_bytes": "no memory cgroup here"},
)
NO_GPU = GpuStates(absent_reason="no NVIDIA GPU")
NO_RUN = RunView(report=None, absent_reason="profiles holds no run", inputs=())


def member(pid: int, role: Any = "main", **changes: Any) -> Member:
    state = ProcessState(
        pid=pid, parent_pid=1, name="python", command=("python",), rss_bytes=MIB, pss_bytes=MIB
    )
    return Member(role=role, process=replace(state, **changes))


def view(**changes: Any) -> MachineView:
    return replace(MachineView(host=HOST, capacity=machine(), gpus=NO_GPU, jobs=()), **changes)


def report(demand: Demand | None = DEMAND, run: RunView = NO_RUN, **changes: Any) -> MemoryReport:
    return build_memory_report(view(**changes), run, demand)


def text_of(made: MemoryReport, width: int = 80, color: bool | None = None) -> str:
    stream = io.StringIO()
    render_terminal(made, stream, width, color)
    return stream.getvalue()


def test_a_tiny_dev_shm_is_a_finding_unless_this_run_hands_batches_over_without_a_name() -> None:
    tiny = machine(shm_total_bytes=16 * MIB, shm_free_bytes=16 * MIB)
    nameless = replace(DEMAND, loader=replace(DEMAND.loader, is_nameless=True))
    codes = {
        name: {each.rule for each in report(demand, capacity=tiny).findings}
        for name, demand in (("none", None), ("named", DEMAND), ("nameless", nameless))
    }
    assert "HM103" in codes["none"] & codes["named"]
    assert "HM103" not in codes["nameless"]


def test_every_part_is_shown() -> None:
    text = text_of(report())
    for words in (
        "some.yaml fits this machine",
        "What counts: 64.0 GiB (the machine's memory), 6.2% in use; 8 cores",
        "no NVIDIA GPU.",
        "none: no process runs",
        "none to show: profiles holds no run",
        "Forecast for some.yaml",
        "Host memory: fits",
        "Shared memory: fits",
        "cache <= 50 % of memory",
        "Nothing has to change.",
        "not counted: page cache",
    ):
        assert words in " ".join(text.split()) or words in text, words


def test_what_a_fast_store_fills_is_said_apart_and_changes_no_sum() -> None:
    mapped = replace(DEMAND, data=replace(DEMAND.data, fast_store_bytes=17 * GIB))
    words = "Fast store: its pages fill up to 17.0 GiB of the page cache"
    text = " ".join(text_of(report(mapped)).split())
    assert words in text
    plain = " ".join(text_of(report()).split())
    assert "Fast store" not in plain
    assert text.partition("Host memory: fits")[2] == plain.partition("Host memory: fits")[2]


def test_no_gpu_is_said_once() -> None:
    assert text_of(report()).count("no NVIDIA GPU") == 1


def test_without_a_configuration_the_guides_rules_stand_for_the_machine() -> None:
    text = text_of(report(demand=None))
    assert "Forecast" not in text
    assert "allows here" in text
    assert "--config FILE" in text


@pytest.mark.parametrize("width", [40, 80, 120])
def test_nothing_is_wider_than_asked(width: int) -> None:
    room = machine(memory_limit_bytes=20 * GIB, available_bytes=18 * GIB)
    made = report(
        capacity=room,
        gpus=GpuStates(gpus=(GpuState(index=0, name="A long name of a GPU" * 3),)),
        jobs=(Job(root_pid=1, members=(member(1), member(2, "worker"))),),
    )
    assert max(map(len, text_of(made, width).splitlines())) <= width


def test_colours_only_where_asked() -> None:
    assert "\x1b" not in text_of(report())
    assert "\x1b" in text_of(report(), color=True)


def test_names_from_outside_cannot_disturb_the_terminal() -> None:
    hostile = replace(DEMAND, config="\x1b[2J[bold]evil[/bold]\n")
    odd = member(7, "other", command=("/bin/\x1b[31mx",))
    text = text_of(report(hostile, jobs=(Job(root_pid=7, members=(odd,)),)))
    assert "\x1b" not in text
    assert "[bold]evil" in text


def test_unknown_is_never_zero() -> None:
    blind = HostState(unknown={"ram_total_bytes": "/proc/meminfo cannot be read"})
    room = machine(
        memory_limit_bytes=None,
        available_bytes=None,
        ram_total_bytes=None,
        shm_total_bytes=None,
        shm_free_bytes=None,
        cores=None,
    )
    made = report(host=blind, capacity=room)
    text = text_of(made)
    assert "Cannot judge some.yaml" in " ".join(text.split())
    assert "/proc/meminfo cannot be read" in " ".join(text.split())
    assert "0 B" not in text.split("Forecast")[0]
    facts = json.loads(to_json(made))
    assert facts["resources"]["host"]["ram_total_bytes"] is None
    assert facts["forecast"]["verdict"] == "unknown"


def test_processes_are_listed_largest_first_and_not_without_end() -> None:
    members = tuple(member(100 + n, "worker") for n in range(MAX_PROCESSES + 5))
    text = text_of(report(jobs=(Job(root_pid=100, members=members),)))
    assert "and 5 smaller ones" in text
    assert (
        len(
            json.loads(to_json(report(jobs=(Job(root_pid=100, members=members),))))["resources"][
                "processes"
            ]
        )
        == MAX_PROCESSES + 5
    )


def test_a_job_without_pss_is_an_upper_bound() -> None:
    refused = member(5, pss_bytes=None, unknown={"pss_bytes": "refused"})
    made = report(jobs=(Job(root_pid=5, members=(refused,)),))
    assert "at most" in text_of(made)
    assert any("refused" in note for note in made.notes)


def test_the_same_finding_and_advice_in_both_forms() -> None:
    room = machine(memory_limit_bytes=20 * GIB, available_bytes=18 * GIB)
    made = report(capacity=room)
    text, facts = text_of(made), json.loads(to_json(made))
    assert "some.yaml does not fit this machine" in text
    assert [finding["rule"] for finding in facts["findings"]] == ["HM104", "CF101"]
    change = facts["findings"][0]["advice"][0]["config_change"]
    assert change["key"] == "DATA.CACHE_SIZE_GB"
    assert f"DATA.CACHE_SIZE_GB: 20 -> {change['proposed']:g}" in text


def test_two_advices_about_one_switch_never_contradict() -> None:
    room = machine(memory_limit_bytes=24 * GIB, available_bytes=22 * GIB)
    proposals = {
        (advice.config_change.key, advice.config_change.proposed)
        for finding in report(capacity=room).findings
        for advice in finding.advice
        if advice.config_change is not None
    }
    keys = [key for key, _ in proposals]
    assert len(keys) == len(set(keys))


def test_json_has_the_fixed_keys_and_sums_hold() -> None:
    facts = json.loads(to_json(report()))
    assert facts["schema_version"] == 1
    assert {"inputs", "resources", "findings", "forecast", "verdict"} <= set(facts)
    assert set(facts["resources"]) >= {"host", "gpus", "processes"}
    for resource in facts["forecast"]["resources"]:
        assert resource["need_bytes"] == sum(p["size_bytes"] for p in resource["parts"])
    assert facts["resources"]["gpus_absent_reason"] == "no NVIDIA GPU"


def test_a_gpu_is_shown_with_its_memory() -> None:
    gpu = GpuState(
        index=0, name="H", memory_total_bytes=80 * GIB, memory_used_bytes=GIB, util_percent=50.0
    )
    made = report(replace(DEMAND, device="cuda"), gpus=GpuStates(gpus=(gpu,)))
    text = text_of(made)
    assert "80.0 GiB" in text
    assert "GPU memory: fits" in text
    assert "50.0%" in text


def test_an_input_that_failed_is_shown() -> None:
    failed = Input(path=Path("gone.log"), kind="unknown", status="failed", notes=("no such file",))
    run = RunView(report=None, absent_reason="no such file", inputs=(failed,))
    made = report(run=run)
    assert "failed unknown: gone.log" in text_of(made)
    assert json.loads(to_json(made))["inputs"][0]["status"] == "failed"


def test_every_field_that_can_be_unknown_has_words() -> None:
    names = {each.name for kind in (HostState, GpuState) for each in fields(kind)}
    never_missing = {"unknown", "index", "stall_share", "cgroup_stall_share"}  # empty where untold
    assert names - never_missing == set(FIELD_WORDS)
