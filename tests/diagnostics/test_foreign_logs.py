"""Logs of other programs, from the file to the advice: nothing in them is about this trainer."""

import re
from pathlib import Path

import pytest

from analyze_performance import main
from diagnostics.command_line import ExitCode
from diagnostics.errors import DiagnosticsError
from diagnostics.language import speaking, spoken
from diagnostics.load import load_run
from diagnostics.parsers.log_formats.registry import FAMILIES
from diagnostics.report.build import build_report
from diagnostics.report.model import Report
from diagnostics.rules.framework_advice import TOPIC_OF
from diagnostics.rules.framework_switches import TOPICS, read_switches, switches_for, trainer_of
from diagnostics.rules.what_to_record import RECORD_ITS_LOOP
from tests.diagnostics.factories import write_lines

FOREIGN = [family.name for family in FAMILIES if family.is_foreign]
OURS = re.compile(
    r"\b(?:DATA|TRAIN|MODEL|DATALOADER|LOG|PROFILING)\.[A-Z_]+|vrtspike\.(?:train|data)|--profile,"
    r"|profiles/<run_id>|run's configuration|--config FILE"
)
"""Switches and commands of this trainer, which another's user can do nothing with."""
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
KILLED = "RuntimeError: DataLoader worker (pid 7) is killed by signal: Killed."


def clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def mmengine(n: int) -> list[str]:
    loss = "nan" if n > 30 else "2.0"
    return [
        f"2022/08/22 {clock(5 * n)} - mmengine - INFO - Iter(train) [{10 * n}/9000]  lr: 1.0e-03  "
        f"eta: 0:18:23  time: 0.5414  data_time: 0.2577  memory: 39200  loss: {loss}"
    ]


def basicsr(n: int) -> list[str]:
    return [
        f"2021-05-11 {clock(120 * n)},000 INFO: [train..][epoch:  0, iter: {100 * n:,}, "
        "lr:(0.000e+00,)] [eta: 3:04:05, time (data): 1.200 (0.600)] l_pix: 1.2345e-02 "
    ]


def deepspeed(n: int) -> list[str]:
    head = f"[2023-11-07 {clock(25 * n)},711] [INFO] [logging.py:96:log_dist] [Rank 0]"
    return [
        f"{head} step={5 * n}, skipped=0, lr=[0.0], mom=[(0.9, 0.95)]",
        f"{head} time (ms) | fwd: 259.10 | bwd: 798.38 | bwd_inner: 700.10 | step: 46.07",
    ]


def megatron(n: int) -> list[str]:
    return [
        f" [2024-01-01 {clock(120 * n)}] iteration {100 * n:>8}/  500000 | elapsed time per "
        "iteration (ms): 1200.0 | learning rate: 1.5E-04 | lm loss: 6.5E+00 | grad norm: 1.2 |",
        "(min, max) time across ranks (ms):",
        "    forward-compute ................................: (700.00, 710.00)",
        "    backward-compute ...............................: (390.00, 400.00)",
        "    batch-generator ................................: (401.10, 402.20)",
    ]


def torchtitan(n: int) -> list[str]:
    norm = "9e5" if n == 20 else "1.9"
    return [
        f"[rank0]:[titan] 2025-02-18 {clock(12 * n)},107 - root - INFO - step: {10 * n}  loss:  "
        f"9.5  grad_norm: {norm}  memory: 70.15GiB(92.28%)  tps: 252  tflops: 3.24  mfu: 0.33%"
    ]


def hugging_face(n: int) -> list[str]:
    return [
        f" {n}%|#         | {10 * n}/1000 [{clock(5 * n)}<1:07:30,  2.00it/s]",
        f"{{'loss': nan, 'grad_norm': 1.13, 'learning_rate': 0.0, 'epoch': {n / 10}}}",
    ]


LINES = {
    "MMEngine": mmengine,
    "BasicSR/KAIR": basicsr,
    "DeepSpeed": deepspeed,
    "Megatron-LM": megatron,
    "torchtitan": torchtitan,
    "Hugging Face Trainer": hugging_face,
}


def report_of(path: Path) -> Report:
    return build_report(load_run([path]))


def troubled(folder: Path, framework: str) -> Path:
    lines = [line for n in range(1, 40) for line in LINES[framework](n)]
    return write_lines(folder / "a.log", [*lines, OOM, KILLED])


def everything_asked(report: Report) -> list[str]:
    advice = [advice.text for finding in report.findings for advice in finding.advice]
    keys = [
        advice.config_change.key
        for finding in report.findings
        for advice in finding.advice
        if advice.config_change
    ]
    hints = [each.record_next or "" for each in report.not_evaluated]
    return [*advice, *keys, *hints, report.verdict.text, report.trust.record_next or ""]


@pytest.mark.parametrize("framework", LINES)
def test_advice_is_in_the_words_of_the_program_that_wrote_the_log(
    tmp_path: Path, framework: str
) -> None:
    report = report_of(troubled(tmp_path, framework))
    assert report.info.log_family == framework
    assert {"GM002", "HM003"} <= {finding.rule for finding in report.findings}
    assert [text for text in everything_asked(report) if OURS.search(text)] == []
    for finding in report.findings:
        texts = " ".join(advice.text for advice in finding.advice)
        switches = switches_for(framework, TOPIC_OF[finding.rule])
        assert switches is None or switches.text in texts
    with speaking("zh"):
        said = spoken(report.findings[0].advice[0].text)
    assert f"在 {framework} 中" in said


def test_each_kind_of_trouble_was_among_them(tmp_path: Path) -> None:
    found = set()
    for framework in LINES:
        report = report_of(troubled(tmp_path, framework))
        found |= {finding.rule for finding in report.findings}
    assert {"DL001", "GM002", "HM003", "NU001", "NU004", "NU006"} <= found


def test_a_framework_without_a_switch_gets_plain_words(tmp_path: Path) -> None:
    log = Path(__file__).parents[1] / "data" / "logs" / "traceml_summary.json"
    (loader,) = [each for each in report_of(log).findings if each.rule == "DL001"]
    (advice,) = loader.advice
    assert advice.text.startswith("Let more processes make the batches")
    assert "In TraceML" not in advice.text
    assert not OURS.search(advice.text)


@pytest.mark.parametrize("framework", FOREIGN)
def test_nothing_is_asked_for_that_only_this_trainer_could_give(framework: str) -> None:
    names = {family: trainer_of(family) for family in FOREIGN}
    assert set(names) - {"torchtitan metrics", "Lightning CSV", "TraceML"} == set(LINES)
    held = [topic for topic in TOPICS if switches_for(framework, topic)]
    assert framework == "TraceML" or len(held) >= len(TOPICS) - 1


def test_every_switch_belongs_to_a_known_trainer_and_says_where_it_is_from() -> None:
    table = read_switches()
    assert set(table) == set(TOPICS)
    assert set(TOPIC_OF.values()) <= set(TOPICS)
    trainers = {trainer_of(family) for family in FOREIGN}
    for named in table.values():
        assert set(named) <= trainers
        for found in named.values():
            assert found.switches
            assert found.source.startswith("https://")


def unknown_log(folder: Path, *known: str) -> Path:
    others = [f"epoch 1 batch {n} took 0.5{n % 10} sec (loss 1.2)" for n in range(40)]
    return write_lines(folder / "a.log", [*others[:20], *known, *others[20:]])


@pytest.mark.parametrize(
    ("line", "recognised"),
    [
        (" 10%|#         | 100/1000 [00:50<07:30,  2.00it/s]", "progress bars: 1"),
        ("step 3 | loss=0.5", "steps: 1"),
        ("Cache Stats:", "a cache: 1"),
        ("  - hits=3/4", "a cache: 1"),
    ],
)
def test_a_log_of_nobody_with_one_known_line_says_what_was_read_and_what_to_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, recognised: str
) -> None:
    path = unknown_log(tmp_path, line)
    assert main([str(path), "--width", "1000"]) == ExitCode.NOT_ENOUGH_EVIDENCE
    said = capsys.readouterr().out
    assert "Cannot judge" in said
    assert f"lines of a known format: 1 of 41 ({recognised})" in said
    for family in FAMILIES:
        assert family.name in said
    assert "`vrtspike.profiling.record` around your loop" in said
    assert "too-few-steps" not in said
    assert not OURS.search(said.partition("`python analyze_performance.py --explain")[0])
    report = report_of(path)
    assert report.findings == ()
    assert {each.record_next for each in report.not_evaluated if each.rule == "TR002"} == {
        RECORD_ITS_LOOP
    }


def test_what_such_a_line_says_is_still_told(tmp_path: Path) -> None:
    report = report_of(unknown_log(tmp_path, OOM))
    assert report.verdict.rule == "GM002"
    assert "memory that ran out: 1" in report.trust.reasons[0]
    assert [text for text in everything_asked(report) if OURS.search(text)] == []


def test_no_known_line_at_all_is_one_line_with_a_way_on(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticsError, match="none of its 40 lines") as raised:
        load_run([unknown_log(tmp_path)])
    assert "vrtspike.profiling.record" in str(raised.value)
    with speaking("zh"):
        assert "没有一行是已知格式" in spoken(str(raised.value))


@pytest.mark.parametrize("count", [2, 3])
def test_three_step_lines_are_a_log(tmp_path: Path, count: int) -> None:
    lines = [f"step {n} | loss=0.5" for n in range(1, count + 1)]
    reasons = report_of(unknown_log(tmp_path, *lines)).trust.reasons
    assert ("lines of a known format" in reasons[0]) == (count < 3)


def test_a_short_log_of_a_known_program_is_no_log_of_nobody(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.log", ["Loading ...", *mmengine(1)])
    report = report_of(path)
    assert report.info.log_family == "MMEngine"
    assert "lines of a known format" not in " ".join(report.trust.reasons)


def test_a_run_of_ours_that_failed_at_its_start_is_no_log_of_nobody(tmp_path: Path) -> None:
    lines = ["[run] id=train_20260102_030405_ab12 schema=1", "[error] no room", *["x"] * 9]
    report = report_of(write_lines(tmp_path / "a.log", lines))
    assert "lines of a known format" not in " ".join(report.trust.reasons)


def test_what_no_timer_holds_is_part_of_the_step(tmp_path: Path) -> None:
    lines = [line.replace("[0.0]", "[1e-4]") for n in range(1, 40) for line in deepspeed(n)]
    report = report_of(write_lines(tmp_path / "a.log", lines))
    times = {phase.name: phase.mean_ms for phase in report.phases}
    step = report.analysis.breakdown.step
    assert step is not None
    assert step.mean_ms == pytest.approx(5000.0)
    assert sum(times.values()) == pytest.approx(step.mean_ms)
    assert "other 77.9%" in report.verdict.text
    assert any("78% of the step lies in none of its timers" in note for note in report.notes)


def test_timers_that_hold_the_whole_step_leave_nothing(tmp_path: Path) -> None:
    lines = [line for n in range(1, 40) for line in megatron(n)]
    lines = [line.replace("1200.0 |", "1131.2 |").replace("400.00)", "421.20)") for line in lines]
    report = report_of(write_lines(tmp_path / "a.log", lines))
    (other,) = [phase.mean_ms for phase in report.phases if phase.name == "other"]
    assert other == pytest.approx(0.0, abs=1e-9)
    assert not any("none of its timers" in note for note in report.notes)
