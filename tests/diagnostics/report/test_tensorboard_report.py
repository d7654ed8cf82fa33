"""The report as TensorBoard reads it: text in its text tab, figures as scalars."""

from dataclasses import replace

import pytest

from diagnostics.errors import DiagnosticsError
from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.markdown import to_markdown
from diagnostics.report.tensorboard_report import (
    TEXT_TAG,
    facts_folder_of,
    last_step,
    write_tensorboard,
)


@pytest.fixture
def report(starved_run):
    return build_report(load_run([starved_run]))


def read_back(folder):
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    events = EventMultiplexer().AddRunsFromDirectory(str(folder.parent)).Reload()
    return events, folder.name


def test_text_and_scalars_are_read_back(report, starved_run):
    path = write_tensorboard(report, facts_folder_of(report), 1_760_000_100.0)
    assert path.parent == starved_run
    events, run = read_back(starved_run)
    assert TEXT_TAG in events.PluginRunToTagToContent("text")[run]
    (event,) = events.Tensors(run, TEXT_TAG)
    assert event.tensor_proto.string_val[0].decode() == to_markdown(report)
    assert event.step == last_step(report) == 41
    assert "report/step_mean_ms" in events.PluginRunToTagToContent("scalars")[run]
    (step,) = events.Tensors(run, "report/step_mean_ms")
    assert step.tensor_proto.float_val[0] == pytest.approx(936.0)
    (stage,) = events.Tensors(run, "report/stage_ms/vrt.stage8")
    assert stage.tensor_proto.float_val[0] == pytest.approx(55.0)


def test_a_second_report_takes_the_place_of_the_first(report, starved_run):
    write_tensorboard(report, starved_run, 1_760_000_100.0)
    second = write_tensorboard(report, starved_run, 1_760_000_200.0)
    assert [path for path in starved_run.iterdir() if "tfevents" in path.name] == [second]


def test_the_trainer_s_own_events_stay(report, starved_run):
    own = starved_run / "events.out.tfevents.1760000000.box.1"
    own.write_bytes(b"")
    write_tensorboard(report, starved_run, 1_760_000_100.0)
    assert own.exists()


def test_without_a_facts_folder_it_says_so(report):
    with pytest.raises(DiagnosticsError, match="none was read"):
        facts_folder_of(replace(report, inputs=()))


def test_a_folder_that_cannot_be_written_is_said(report, tmp_path):
    with pytest.raises(DiagnosticsError, match="cannot be written"):
        write_tensorboard(report, tmp_path / "gone", 1.0)


def test_names_from_files_stay_text_in_markdown(report):
    hostile = "<script>alert(1)</script> [x](javascript:y) | **b**\n# h"
    page = to_markdown(replace(report, info=replace(report.info, run_id=hostile)))
    first = page.splitlines()[0]
    assert first.startswith("# \\<script\\>alert(1)\\</script\\> \\[x\\](javascript:y) \\|")
    assert "\\n\\# h" in first
