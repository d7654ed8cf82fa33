"""Ranking, folding of symptoms, and the absence of contradictions."""

import random

import pytest

from diagnostics.rules.catalogue import CATALOGUE
from diagnostics.rules.evaluate import evaluate
from diagnostics.rules.finding import Advice, ConfigChange, Finding, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Rule

STARVED = Measurements(
    device="cuda",
    clock="device",
    num_steps=100,
    step_ms=1000.0,
    phase_ms={"data_wait": 700.0, "forward": 100.0, "backward": 200.0},
    data_wait_exposed_ms=690.0,
    samples_per_s=0.9,
    gpu_util_percent=25.0,
    stage_ms={"vrt.stage8": 60.0, "vrt.stage1": 40.0},
    stage_clock="device",
)


class Stub(Rule):
    docs = ""
    summary = "Found."

    def __init__(self, code, **finding):
        self.code = code  # type: ignore[misc]
        self.answer = finding

    def check(self, measured):
        answer = {"severity": Severity.WARN, **self.answer}
        return Finding(rule=self.code, name=self.code.lower(), summary="Found.", **answer)


def codes(evaluation):
    return [finding.rule for finding in evaluation.findings]


def advice(key, proposed):
    change = ConfigChange(key=key, current=4, proposed=proposed)
    return (Advice(text=f"{key} {proposed}", config_change=change),)


def test_symptoms_are_folded_under_their_cause():
    evaluation = evaluate(CATALOGUE, STARVED)
    assert [finding.rule for finding in evaluation.causes] == ["DL001", "KN001"]
    assert evaluation.findings[0].explains == ("GP001", "CF001")
    assert codes(evaluation)[2:] == ["GP001", "CF001"]


def test_the_order_of_the_rules_does_not_matter():
    shuffled = list(CATALOGUE)
    random.Random(1).shuffle(shuffled)
    assert evaluate(shuffled, STARVED) == evaluate(CATALOGUE, STARVED)


def test_every_rule_gives_exactly_one_answer():
    evaluation = evaluate(CATALOGUE, STARVED)
    answered = [
        *codes(evaluation),
        *(item.rule for item in evaluation.not_evaluated),
        *evaluation.passed,
    ]
    assert sorted(answered) == [rule.code for rule in CATALOGUE]


def test_a_rule_that_raises_is_not_hidden():
    class Broken(Stub):
        def check(self, measured):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate([Broken("XX001")], Measurements())


def test_what_costs_most_comes_first_and_what_stops_the_run_before_it():
    rules = [
        Stub("XX001", cost_ms_per_step=10.0, severity=Severity.CRITICAL),
        Stub("XX002", cost_ms_per_step=90.0, severity=Severity.NOTE),
        Stub("XX003", severity=Severity.CRITICAL),
        Stub("XX004", cost_bytes=5),
        Stub("XX005", cost_bytes=50),
    ]
    assert codes(evaluate(rules, Measurements())) == ["XX003", "XX002", "XX001", "XX005", "XX004"]


def test_what_the_reader_cannot_remove_stands_behind_what_is_critical():
    neighbours = Stub("XX001", cost_ms_per_step=90.0, explains=("XX009",))
    neighbours.lies_outside = True  # type: ignore[misc]
    critical = Stub(
        "XX002", cost_ms_per_step=50.0, severity=Severity.CRITICAL, advice=advice("A", 2)
    )
    lesser = Stub("XX003", cost_ms_per_step=10.0)
    symptom = Stub("XX009", severity=Severity.CRITICAL, advice=advice("B", 2))
    rules = [neighbours, critical, lesser, symptom]
    assert codes(evaluate(rules, Measurements())) == ["XX002", "XX001", "XX003", "XX009"]
    without = [neighbours, lesser, symptom]
    assert codes(evaluate(without, Measurements())) == ["XX001", "XX003", "XX009"]


def test_neighbours_who_take_time_stand_behind_a_leak_that_takes_none():
    neighbours = Stub("XX001", cost_ms_per_step=90.0)
    neighbours.lies_outside = True  # type: ignore[misc]
    slow = Stub("XX002", cost_ms_per_step=10.0)
    leak = Stub("XX003", cost_bytes=5, advice=advice("A", 2))
    leak.is_leak = True  # type: ignore[misc]
    rules = [neighbours, slow, leak]
    assert codes(evaluate(rules, Measurements())) == ["XX003", "XX001", "XX002"]
    assert codes(evaluate([slow, leak], Measurements())) == ["XX002", "XX003"]
    symptom = Stub("XX009", explains=("XX003",))
    assert codes(evaluate([*rules, symptom], Measurements()))[-1] == "XX003"
    worse = Stub("XX004", cost_ms_per_step=50.0, severity=Severity.CRITICAL, advice=advice("B", 2))
    stopped = Stub("XX005", severity=Severity.CRITICAL, advice=advice("C", 2))
    known = codes(evaluate([*rules, worse, stopped], Measurements()))
    assert known == ["XX005", "XX003", "XX004", "XX001", "XX002"]
    little = Stub("XX003", cost_bytes=5, severity=Severity.NOTE, advice=advice("A", 2))
    little.is_leak = True  # type: ignore[misc]
    assert codes(evaluate([neighbours, little], Measurements())) == ["XX001", "XX003"]


def test_a_note_explains_nothing():
    rules = [
        Stub("XX001", severity=Severity.NOTE, explains=("XX002",)),
        Stub("XX002", severity=Severity.CRITICAL),
    ]
    evaluation = evaluate(rules, Measurements())
    assert len(evaluation.causes) == 2
    assert all(not finding.explains for finding in evaluation.findings)


def test_a_chain_of_causes_ends_at_its_root():
    rules = [
        Stub("XX001", explains=("XX002",)),
        Stub("XX002", explains=("XX003", "XX009"), cost_ms_per_step=5.0),
        Stub("XX003"),
    ]
    evaluation = evaluate(rules, Measurements())
    assert [finding.rule for finding in evaluation.causes] == ["XX001"]
    assert {f.rule: f.explains for f in evaluation.findings}["XX002"] == ("XX003",)


def test_memory_wins_when_two_findings_pull_a_switch_in_two_directions():
    rules = [
        Stub("XX001", cost_ms_per_step=900.0, severity=Severity.CRITICAL, advice=advice("A", 8)),
        Stub("XX002", cost_bytes=1, advice=advice("A", 2)),
        Stub("XX003", cost_ms_per_step=1.0, advice=advice("B", 3)),
    ]
    evaluation = evaluate(rules, Measurements())
    changes = {f.rule: [item.config_change for item in f.advice] for f in evaluation.findings}
    assert changes["XX001"] == [None]
    assert [change.proposed for change in changes["XX002"]] == [2]
    assert [change.proposed for change in changes["XX003"]] == [3]
    (overruled,) = [f for f in evaluation.findings if f.rule == "XX001"]
    assert overruled.advice[0].text == "The advice of XX002 goes first: A = 2."


def test_no_advice_contradicts_another_when_everything_is_wrong_at_once():
    config = {
        "DATA": {"USE_RAM_CACHE": True, "CACHE_SIZE_GB": 50.0, "USE_PRECOMPUTED_VOXELS": False},
        "DATALOADER": {"TOTAL_WORKERS": 2, "TRAIN_PREFETCH_FACTOR": 3, "PIN_MEMORY": False},
        "TRAIN": {"AMP_ENABLED": False, "BATCH_SIZE": 4, "OPTIM": {"LR": 1e-4}},
        "MODEL": {"VRT_DEPTHS": [8, 8, 8, 8, 4, 4, 4, 8], "WINDOW_SIZE": 8},
    }
    measured = Measurements(
        **{
            **vars(STARVED),
            "config": config,
            "num_workers": 2,
            "cpus_allowed": 64,
            "host_memory_peak_bytes": 990,
            "host_memory_limit_bytes": 1000,
            "device_memory_peak_bytes": 990,
            "device_memory_total_bytes": 1000,
            "num_nonfinite": 1,
            "cache_hit_rate": 0.1,
            "cache_num_reads": 1000,
            "cache_used_bytes": 1000,
            "cache_limit_bytes": 1000,
        }
    )
    evaluation = evaluate(CATALOGUE, measured)
    wanted = {}
    for finding in evaluation.findings:
        for item in finding.advice:
            if item.config_change is not None:
                wanted.setdefault(item.config_change.key, set()).add(item.config_change.proposed)
    assert len(wanted) >= 5
    assert all(len(values) == 1 for values in wanted.values())
