"""Advice names the file that the run was started with, wherever the facts know it."""

import json

import pytest

from diagnostics.analyses.launch import Launch, launch_of
from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.rules.catalogue import find_rule
from diagnostics.rules.finding import Finding
from diagnostics.rules.launch_command import configuration_words, new_configuration
from diagnostics.rules.measurements import Measurements
from tests.diagnostics.factories import make_run, write_facts

STARTED = ("-m", "vrtspike.train", "--config", "my plans/a.yaml", "TRAIN.BATCH_SIZE=2", "--profile")
KILLED = {
    "killer": "oom_killer",
    "kill_victim": "trainer",
    "kill_memory": "group",
    "num_oom_kills": 1,
    "num_workers": 8,
    "config": {"DATALOADER": {"TOTAL_WORKERS": 8}},
}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (STARTED, Launch(config="my plans/a.yaml", settings=("TRAIN.BATCH_SIZE=2",))),
        (("--config=b.yaml",), Launch(config="b.yaml")),
        (("--config", "a.yaml", "--config=b.yaml"), Launch(config="b.yaml")),
        (("-m", "vrtspike.train"), None),
        (("--config",), None),
        ((), None),
    ],
)
def test_the_file_and_its_settings_are_read_from_the_command_line(argv, expected):
    assert launch_of(argv) == expected


def test_a_setting_is_said_once_and_hostile_names_are_one_line():
    launch = Launch(config="a b.yaml", settings=("K.A=1", "K.B=2", "K.A=3"))
    assert configuration_words(launch, ["K.B=4"]) == "'a b.yaml' K.A=3 K.B=4"
    assert "\n" not in configuration_words(Launch(config="a\n\x1b[2J.yaml"))
    assert configuration_words(None, ["K.B=4"]) == "FILE K.B=4"
    assert new_configuration(launch) == "'a b_fits.yaml'"
    assert new_configuration(Launch(config="plans/a.yaml")) == "plans/a_fits.yaml"
    assert new_configuration(Launch(config="/")) == new_configuration(None) == "NEW"


@pytest.mark.parametrize(
    ("ranks", "world", "options"),
    [(1, 1, ""), (4, 4, " --ranks 4"), (4, 8, " --ranks 4 --nodes 2")],
)
def test_what_follows_a_kill_names_the_configuration_of_the_run(ranks, world, options):
    measured = Measurements(
        **KILLED, launch=launch_of(STARTED), ranks_per_machine=ranks, world_size=world
    )
    found = find_rule("HM006").check(measured)
    assert isinstance(found, Finding)
    (whole,) = [each for each in found.advice if "--write-config" in each.text]
    command = f"--config 'my plans/a.yaml' TRAIN.BATCH_SIZE=2{options} --write-config"
    assert f"{command} 'my plans/a_fits.yaml'`" in whole.text
    assert whole.verify == f"python diagnose_memory.py --config 'my plans/a_fits.yaml'{options}"


def test_the_forecast_of_less_recomputation_names_it_too():
    measured = Measurements(
        device="cuda",
        step_ms=100.0,
        recompute_ms=20.0,
        device_memory_total_bytes=1000,
        device_memory_peak_bytes=100,
        config={"MODEL": {"VRT": {"USE_CHECKPOINT_ATTN": True}}},
        launch=launch_of(("--config", "a.yaml", "MODEL.VRT.USE_CHECKPOINT_ATTN=true")),
    )
    found = find_rule("GM005").check(measured)
    assert isinstance(found, Finding)
    assert found.advice[0].verify == (
        "python diagnose_memory.py --config a.yaml MODEL.VRT.USE_CHECKPOINT_ATTN=false"
    )


def test_a_report_names_it_and_one_without_a_command_line_does_not_guess(tmp_path):
    made = make_run()
    folder = write_facts(tmp_path / made.run_id, made)
    assert "--config FILE" in build_report(load_run([folder])).trust.record_next
    meta = folder / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "argv": list(STARTED)}))
    report = build_report(load_run([folder]))
    assert "--config 'my plans/a.yaml' TRAIN.BATCH_SIZE=2" in report.trust.record_next
