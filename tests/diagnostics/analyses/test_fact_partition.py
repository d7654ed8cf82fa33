"""What facts say where there is no trace: a partition that sums, idle time on a device's clock."""

import pytest

from diagnostics.analyses.fact_partition import partition_facts
from diagnostics.analyses.step_breakdown import compute_step_breakdown
from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.json_report import to_mapping
from tests.diagnostics.factories import make_run, run_of, write_facts


def test_the_phases_are_a_partition(tmp_path):
    run = load_run([write_facts(tmp_path / "facts", make_run(20))])
    found = partition_facts(compute_step_breakdown(run))

    assert sum(part.share for part in found.parts) == pytest.approx(1)
    assert {part.name for part in found.parts} >= {"data_wait", "forward", "backward"}
    assert found.idle_causes == ()  # by the host's clock nothing is known of a device


def test_the_exposed_wait_is_idle_time_of_a_device(tmp_path):
    run = load_run([write_facts(tmp_path / "facts", make_run(20, clock="device"))])
    breakdown = compute_step_breakdown(run)
    (idle,) = partition_facts(breakdown).idle_causes

    data = breakdown.data_against_compute
    assert data is not None
    assert (idle.cause, idle.ms_per_step) == ("data_loading", data.data_wait_exposed_ms)


def test_the_report_has_the_same_keys_as_from_a_trace(tmp_path):
    run = load_run([write_facts(tmp_path / "facts", make_run(20, clock="device"))])
    mapping = to_mapping(build_report(run))

    assert mapping["breakdown"]["source"] == "facts"
    assert mapping["breakdown"]["idle_share"] is None
    assert sum(part["share"] for part in mapping["partition"]) == pytest.approx(1)
    (idle,) = mapping["idle_causes"]
    assert (idle["cause"], idle["where"], idle["rank"]) == ("data_loading", None, None)


def test_nothing_is_made_of_nothing():
    found = partition_facts(compute_step_breakdown(run_of()))

    assert (found.parts, found.idle_causes) == ((), ())
