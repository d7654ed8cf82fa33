"""The text log as a whole: what it states, and what no damage to it may do."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from diagnostics.errors import DiagnosticsError
from diagnostics.parsers import line_scanner, log_scan, text_log
from diagnostics.parsers.text_log import parse_text_log, read_run_line
from tests.diagnostics.factories import RUN_ID, log_lines, make_run, write_lines

ORIGINAL = """\
[train] Found 3 GPUs available
  GPU 0: NVIDIA RTX A6000 (47.4 GB)
[SpikeDeblurDataset] Cache preloaded: 0 items, 0.0GB / 30.0GB
[After dataset creation] Memory - Process: 12345.6MB (4.8%), System: 48.3/256.0GB (18.9%)
step 50/8880 | loss=0.0234 charb=0.0189 vgg=0.0451 lr=9.87e-05 | GPU0_mem=1.2GB | 0.5\
 samples/s | data_time=0.1ms
[progress] 60/8880 [....................]   0.7% | elapsed=0:23:04 | eta=79:12:11
[WARNING] Step 62: NaN/Inf detected in loss! loss=nan, l_charb=nan, l_vgg=nan
step 100/8880 | loss=0.0230 charb=0.0180 vgg=0.0450 lr=9.87e-05 | GPU0_mem=1.2GB | 0.5\
 samples/s | data_time=0.1ms
[Step 100] Memory - Process: 15678.9MB (6.1%), System: 125.4/256.0GB (49.0%), GPU:\
 8192.0MB allocated, 9216.0MB reserved
⚠️  WARNING: System memory usage is critically high (91.2%)!
[epoch] 1 | steps=111 | loss=0.0312 (charb=0.0251, vgg=0.0610) | lr=4.34e-05 |\
 time=4012.3s | throughput=0.1 samples/s
[val] step 1000 | PSNR_RGB=28.54 PSNR_Y=29.91 SSIM_Y=0.8712 LPIPS=0.1534
[train] step 1000 | Checkpoint saved (no validation available)
[SpikeDeblurDataset] Cache Stats:
  - Size: 374 items
  - Memory: 49876.3 / 51200.0 MB
  - Hit Rate: 82.45% (8245 hits / 1755 misses)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 15.82 GiB.
"""


def parse(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return parse_text_log(path)


def assert_same_tables(one, other):
    for name, frame in vars(one.tables).items():
        assert_frame_equal(frame, getattr(other.tables, name))


def test_our_log(tmp_path):
    log = parse_text_log(write_lines(tmp_path / "a.log", log_lines(make_run(20), every=5)))
    assert log.run_fields["id"] == RUN_ID
    assert (log.family, log.clock, log.status, log.total_steps) == (
        "vrt-spike",
        "host",
        "finished",
        20,
    )
    assert list(log.tables.steps["step"]) == [5, 10, 15, 20]
    assert list(log.tables.steps["num_steps"]) == [4, 5, 5, 5]
    assert set(log.tables.phases["name"]) == {
        *("data_wait", "h2d", "forward", "loss", "backward", "optimizer", "other", "step")
    }
    assert set(log.tables.stages["name"]) == {"flow", "vrt.stage1", "forward.other"}
    assert log.notes == ()
    assert log.num_recognised == log.num_lines


def test_original_trainers_log(tmp_path):
    log = parse(tmp_path / "a.log", ORIGINAL)
    tables = log.tables
    assert log.family == "original trainer"
    assert list(tables.log_steps["samples_per_s"]) == [0.5, 0.5]
    assert not len(tables.phases), "its data_time leaves the fetch out and is no phase"
    assert list(tables.steps["num_steps"]) == [49, 50]
    assert list(tables.memory_lines["process_percent"]) == [4.8, 6.1]
    assert list(tables.validations["psnr_rgb_db"]) == [28.54]
    assert sorted(tables.spans["name"]) == ["checkpoint", "validation"]
    assert list(tables.events["name"]) == ["numerics", "memory_warning", "epoch", "oom"]
    assert tables.cache_stats.iloc[-1]["hits"] == 8245
    assert tables.cache_stats.iloc[-1]["num_items"] == 374
    assert tables.events.iloc[0]["source"] == "a.log:7"


def test_a_machine_without_gpu_is_said(tmp_path):
    lines = [*log_lines(make_run(3)), "[resources] no NVIDIA GPU (NVML Shared Library Not Found)"]
    log = parse_text_log(write_lines(tmp_path / "a.log", lines))
    assert log.gpus_absent_reason == "NVML Shared Library Not Found"


def test_a_stated_tag_leaves_its_step_out(tmp_path):
    lines = log_lines(make_run(20), every=1)
    plain = parse_text_log(write_lines(tmp_path / "plain.log", lines)).tables
    told = [*lines, "[tags] step 9 | profiled,gc"]
    tagged = parse_text_log(write_lines(tmp_path / "told.log", told)).tables
    for before, after in ((plain.phases, tagged.phases), (plain.stages, tagged.stages)):
        assert not before[before["step"] == 9]["is_tagged"].any()
        assert after[after["step"] == 9]["is_tagged"].all()
        assert not after[after["step"] == 10]["is_tagged"].any()
    assert tagged.steps.set_index("step").loc[9, "tags"] == "profiled,gc"


def test_a_step_after_two_spans_has_two_tags(tmp_path):
    lines = [*log_lines(make_run(9, validations=(4,))), "[checkpoint] step 4 | last.pt"]
    steps = parse_text_log(write_lines(tmp_path / "a.log", lines)).tables.steps
    assert list(steps.loc[steps["is_tagged"], "step"]) == [1, 5]
    assert list(steps.loc[steps["is_tagged"], "tags"]) == ["first", "validation,checkpoint"]


def test_the_wait_is_host_time_beside_a_device_clock(tmp_path):
    run = make_run(20, clock="device")
    phases = parse_text_log(write_lines(tmp_path / "a.log", log_lines(run, 5))).tables.phases
    waits = phases[phases["name"] == "data_wait"].groupby("clock", observed=True)["ms"].mean()
    assert waits["host"] > waits["device"]
    assert set(phases[phases["name"] == "step"]["clock"]) == {"host"}


def test_order_of_lines_does_not_matter(tmp_path):
    lines = log_lines(make_run(20), every=2)
    shuffled = lines.copy()
    random.Random(3).shuffle(shuffled)
    one = parse_text_log(write_lines(tmp_path / "a.log", lines))
    other = parse_text_log(write_lines(tmp_path / "b.log", shuffled))
    for name in ("phases", "stages", "steps", "log_steps"):
        ordered = [
            getattr(log.tables, name).sort_values(
                [key for key in ("step", "name", "clock") if key in getattr(log.tables, name)],
                key=lambda values: values.astype("str") if values.name != "step" else values,
                ignore_index=True,
            )
            for log in (one, other)
        ]
        assert_frame_equal(*ordered, check_categorical=False)


def test_colours_line_ends_and_foreign_bytes_do_no_harm(tmp_path):
    lines = log_lines(make_run(10))
    plain = parse_text_log(write_lines(tmp_path / "plain" / "a.log", lines))
    dressed = "\r\n".join(f"\x1b[36m{line}\x1b[0m" for line in lines).encode() + b"\r\n"
    noise = b"\xff\xfe broken \xe4\xbd utf-8\n[rank2]: NCCL INFO something | else\r\n"
    (tmp_path / "dressed").mkdir()
    (tmp_path / "dressed" / "a.log").write_bytes(
        noise + dressed.replace(b"\x1b[0m\r\n", b"\x1b[0m\r\n" + noise)
    )
    assert_same_tables(plain, parse_text_log(tmp_path / "dressed" / "a.log"))


def test_prefix_of_a_launcher_does_no_harm(tmp_path):
    lines = log_lines(make_run(10))
    plain = parse_text_log(write_lines(tmp_path / "one" / "a.log", lines))
    prefixed = [f"2026-01-02 03:04:05,678 - [rank0]: {line}" for line in lines]
    assert_same_tables(plain, parse_text_log(write_lines(tmp_path / "two" / "a.log", prefixed)))


def test_a_step_stated_twice_counts_once_and_is_said(tmp_path):
    lines = log_lines(make_run(10))
    log = parse_text_log(write_lines(tmp_path / "a.log", lines + lines))
    once = parse_text_log(write_lines(tmp_path / "b.log", lines))
    assert len(log.tables.phases) == len(once.tables.phases)
    assert len(log.tables.stages) == len(once.tables.stages)
    assert log.notes == ("10 step lines repeat a step; the last line of each step was used",)


def test_stages_of_backward_and_recomputation_have_lines_of_their_own(tmp_path):
    lines = [
        line
        for step in (1, 2, 3)
        for line in (
            f"stages {step}/9 | clock=device | forward=10.0ms backward=30.0ms | flow=10.0ms",
            f"stages.backward {step}/9 | clock=device | flow={step}.5ms backward.other=0.5ms",
            f"stages.recompute {step}/9 | clock=device | flow=8.0ms",
        )
    ]
    lines += ["stages.backward 2/9 | clock=device | flow=7.0ms", "stages.sideways 4/9 | clock=host"]
    log = parse_text_log(write_lines(tmp_path / "a.log", lines)).tables
    stages = log.stages.set_index(["phase", "name", "step"])["ms"].to_dict()
    assert stages == {
        **{("forward", "flow", step): 10.0 for step in (1, 2, 3)},
        **{("recompute", "flow", step): 8.0 for step in (1, 2, 3)},
        **{("backward", "backward.other", step): 0.5 for step in (1, 2, 3)},
        ("backward", "flow", 1): 1.5,
        ("backward", "flow", 2): 7.0,
        ("backward", "flow", 3): 3.5,
    }
    assert set(log.phases["name"]) == {"forward", "backward"}
    assert list(log.stages["is_tagged"]) == list(log.stages["step"] == 1)


def test_lines_that_name_other_stages_or_one_twice(tmp_path):
    head = "stages {}/9 | clock=host | forward=10.0ms | "
    lines = [head.format(1) + "flow=1.0ms", head.format(2) + "other_flow=2.0ms"]
    lines += [head.format(3) + "flow=3.0ms flow=4.0ms"]
    lines += [head.format(4 + n) + f"odd{n}=5.0ms" for n in range(30)]
    stages = parse_text_log(write_lines(tmp_path / "a.log", lines)).tables.stages
    times = dict(zip(stages["step"], stages["ms"], strict=True))
    assert times == {1: 1.0, 2: 2.0, 3: 4.0, **{4 + n: 5.0 for n in range(30)}}


def test_thinned_stage_lines_keep_their_window(tmp_path, monkeypatch):
    monkeypatch.setattr(line_scanner, "_WAITING_LINES", 16)
    monkeypatch.setattr(line_scanner.LineScanner.__init__, "__defaults__", (100,))
    log = parse_text_log(write_lines(tmp_path / "a.log", log_lines(make_run(64))))
    kept = log.tables.stages
    assert 0 < len(kept) <= 30
    assert (kept["num_steps"] == 1).all()
    assert len(log.tables.steps) < 64
    assert any("only those of every" in note for note in log.notes)


@pytest.mark.parametrize("num_processes", [2, 3, 7])
def test_several_processes_read_what_one_does(tmp_path, num_processes, monkeypatch):
    lines = [*log_lines(make_run(40, validations=(7, 33))), *ORIGINAL.splitlines()]
    path = write_lines(tmp_path / "a.log", lines)
    alone = parse_text_log(path)
    scan = log_scan.scan_log
    monkeypatch.setattr(text_log, "scan_log", lambda path: scan(path, num_processes))
    together = parse_text_log(path)
    assert_same_tables(alone, together)
    assert together.num_lines == alone.num_lines
    assert together.num_recognised == alone.num_recognised


@pytest.mark.parametrize("cut", range(1, 140, 7))
def test_a_log_cut_anywhere_is_read_up_to_there(tmp_path, cut):
    whole = "\n".join(log_lines(make_run(10))) + "\n"
    log = parse(tmp_path / "a.log", whole[:-cut])
    lines_left = whole[:-cut].count("\n")
    assert log.num_lines == lines_left
    is_clean_cut = whole[:-cut].endswith("\n")
    assert ("may be cut" in " ".join(log.notes)) is not is_clean_cut


def test_first_line_alone(tmp_path):
    path = write_lines(tmp_path / "a.log", [*["noise"] * 3, *log_lines(make_run(3))])
    assert read_run_line(path)["id"] == RUN_ID
    assert read_run_line(write_lines(tmp_path / "b.log", ["noise"])) is None


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"hello\nworld\n", "none of its 2 lines")]
)
def test_nothing_to_read_is_one_clear_line(tmp_path, content, said):
    with pytest.raises(DiagnosticsError, match=said) as raised:
        parse(tmp_path / "a.log", content)
    assert "\n" not in str(raised.value)


PIECES = [
    *log_lines(make_run(3)),
    *ORIGINAL.splitlines(),
    "stages 1/1 | clock=host | a=1e99ms",
    "step 999999999999999/1 | loss=1e999 step_time=1e300ms",
    "[end] finished | steps=1 | elapsed=999999999999:00:00",
    "stages 3/3 | clock=device | forward=1.0ms | " + "x=1.0ms " * 300,
    "[progress] " * 200,
    "[1] Memory - Process: 1.2.3MB (1%), System: 1/1GB (1%)",
]


@settings(max_examples=40, deadline=None)
@given(
    pieces=st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=30)), max_size=12),
    flips=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=8),
)
@example(pieces=["step 5/9 | step_time=1.0ms", "[val] step 4 | PSNR_RGB=1.0"], flips=[])
def test_no_bytes_raise_anything_but_our_error(tmp_path_factory, pieces, flips):
    encoded = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    content = bytearray(b"\n".join(encoded) + b"\n")
    for place, byte in flips:
        content[place % len(content)] = byte
    try:
        log = parse(tmp_path_factory.mktemp("fuzz") / "a.log", bytes(content))
    except DiagnosticsError:
        return
    assert (log.tables.phases["ms"] >= 0).all()
    assert (log.tables.phases["num_steps"] > 0).all()


def test_a_log_of_one_endless_line_is_called_that(tmp_path):
    path = tmp_path / "train.log"
    path.write_bytes(b"stages 1/2 | " * 20_000)
    with pytest.raises(DiagnosticsError, match="its only line has no end"):
        parse_text_log(path)
