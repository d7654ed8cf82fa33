"""The black box: what makes it write, what stands in it, and how little it may write."""

import json
import os
import signal
import threading

import pytest
import torch

from vrtspike.profiling.black_box import REQUEST, BlackBox, BoxPlan
from vrtspike.profiling.dump_files import MAX_BYTES, MIN_INTERVAL_S, bounded_text
from vrtspike.profiling.memory_snapshot import MemorySnapshots
from vrtspike.profiling.recording import RecordingPlan
from vrtspike.profiling.settings import ProfilingConfig

QUIET = ProfilingConfig(resources=False, black_box=False)
ENOUGH = 20


class StillWatchdog:
    """A watchdog that looks only when the test says so."""

    hears_signals = False

    def __init__(self, on_wake, period_s):
        self.on_wake, self.period_s, self.woken, self.stopped = on_wake, period_s, 0, False

    def start(self):
        pass

    def wake(self):
        self.woken += 1

    def stop(self):
        self.stopped = True


class Bench:
    """A recorder with a black box on a fake clock."""

    def __init__(self, new_recorder, clock, tmp_path, **plan):
        self.clock, self.folder = clock, tmp_path / "facts" / "blackbox"
        options = {"num_steps": 8, "max_files": 20, "hang_after_s": 30.0, "resources": None}
        box = BoxPlan(run_id="train_x", rank=0, **{**options, **plan})
        memory = MemorySnapshots(tmp_path / "facts/memory", 0, torch.device("cpu"), 0)
        self.box = BlackBox(box, clock, memory, StillWatchdog)
        self.recorder = new_recorder(plan=RecordingPlan(settings=QUIET, parts=(self.box,)))
        self.step = 0

    def take(self, count=1, ms=100.0, loss=1.0):
        for _ in range(count):
            self.step += 1
            self.recorder.begin_step(self.step)
            self.clock.pass_ms(ms)
            self.recorder.end_step(micro_batches=1, samples=1, loss=loss)

    def fail(self, error, cause=None, steps=2):
        """A run that ends with an error."""
        with self.recorder:
            self.take(steps)
            raise error from cause

    def look(self, *signals):
        self.box.look(frozenset(signals))

    def dumps(self):
        found = sorted(self.folder.glob("*.json")) if self.folder.exists() else []
        return [json.loads(path.read_text()) for path in found]


@pytest.fixture
def bench(new_recorder, clock, tmp_path):
    return lambda **plan: Bench(new_recorder, clock, tmp_path, **plan)


def named(heard, name):
    return [event for event in heard.events if event.name == name]


def test_a_slow_step_is_written_with_its_neighbours(bench, heard):
    bench = bench()
    with bench.recorder:
        bench.take(ENOUGH + 1)  # the first is tagged
        bench.take(ms=310.0)
        bench.look()
        (dump,) = bench.dumps()
    assert (dump["reason"], dump["step"]) == ("slow_step", ENOUGH + 2)
    assert dump["detail"] == {"step_ms": 310.0, "median_ms": 100.0, "ratio": 3.1}
    assert [step["step"] for step in dump["steps"]] == list(range(ENOUGH - 5, ENOUGH + 3))
    main = next(thread for thread in dump["threads"] if thread["is_main"])
    assert main["name"] == "MainThread"
    assert any(frame["function"] == "Bench.look" for frame in main["frames"])
    assert dump["threads_when"] == "writing"
    (event,) = named(heard, "black_box_written")
    assert event.values["file"] == f"blackbox/{int(dump['at_unix_s'])}_slow_step.rank0.json"
    assert (event.values["at_step"], event.values["ratio"]) == (ENOUGH + 2, 3.1)
    assert "test_black_box:Bench.look:" in event.values["where"].split(" < ")[0]


def test_the_stacks_of_a_slow_step_are_those_of_the_time_when_it_was_slow(bench):
    bench = bench()
    with bench.recorder:
        bench.take(ENOUGH + 1)
        bench.recorder.begin_step(ENOUGH + 2)
        bench.clock.pass_ms(250)

        def busy():
            bench.look()

        busy()
        bench.clock.pass_ms(250)
        bench.recorder.end_step(micro_batches=1, samples=1)
        bench.look()
        (dump,) = bench.dumps()
    assert dump["threads_when"] == "during the step"
    assert any("busy" in frame["function"] for frame in dump["threads"][0]["frames"])


def test_tagged_steps_are_no_reason(bench):
    bench = bench()
    with bench.recorder:
        bench.take(ENOUGH + 1)
        bench.recorder.tag("compile")
        bench.take(ms=60_000.0)
        bench.look()
        assert bench.dumps() == []


def test_a_hang_is_written_while_it_lasts_and_its_end_is_told(bench, heard):
    bench = bench()
    with bench.recorder:
        bench.take(ENOUGH + 1)
        bench.recorder.begin_step(99)
        bench.clock.pass_ms(30_001)
        bench.look()
        bench.look()
        (dump,) = bench.dumps()
        bench.clock.pass_ms(2_000)
        bench.recorder.end_step(micro_batches=1, samples=1)
    assert (dump["reason"], dump["step"], dump["detail"]["limit_s"]) == ("hang", 99, 30.0)
    (ended,) = named(heard, "hang_ended")
    assert ended.values["seconds"] == 32.001
    assert ended.values["file"].endswith("_hang.rank0.json")


def test_a_validation_may_take_longer_than_a_step(bench):
    bench = bench()
    with bench.recorder:
        bench.take(ENOUGH + 1)
        with bench.recorder.span("validation"):
            bench.clock.pass_ms(500_000)
            bench.look()
        assert bench.dumps() == []


def test_a_loss_that_is_no_number_and_the_error_it_leads_to_are_one_file(bench):
    bench = bench()
    take = bench.take
    bench.take = lambda count: take(count, loss=float("nan"))
    with pytest.raises(ArithmeticError):
        bench.fail(ArithmeticError("loss is nan"), cause=ValueError("inner"))
    (dump,) = bench.dumps()
    assert (dump["reason"], dump["detail"]) == ("not_finite", {"loss": "nan"})
    assert (dump["error"]["type"], dump["error"]["text"]) == ("ArithmeticError", "loss is nan")
    assert dump["error"]["caused_by"][0]["type"] == "ValueError"
    assert dump["error"]["frames"][-1]["function"] == "Bench.fail"


def test_an_error_is_written_and_none_of_its_frames_kept(bench):
    bench = bench()
    with pytest.raises(RuntimeError):
        bench.fail(RuntimeError("boom"))
    (dump,) = bench.dumps()
    assert dump["reason"] == "error"
    assert dump["detail"] == {"type": "RuntimeError", "text": "boom"}


@pytest.mark.parametrize(("error", "steps"), [(KeyboardInterrupt(), 2), (RuntimeError(), 0)])
def test_ctrl_c_and_what_fails_before_the_first_step_leave_no_file(bench, error, steps):
    bench = bench()
    with pytest.raises(type(error)):
        bench.fail(error, steps=steps)
    assert bench.dumps() == []


def test_out_of_memory_is_written_with_the_error(bench, heard):
    bench = bench()
    take = bench.take

    def take_and_tell(count):
        take(count)
        bench.recorder.event("out_of_memory", where="device", reason="CUDA out of memory")

    bench.take = take_and_tell
    with pytest.raises(MemoryError):
        bench.fail(MemoryError())
    (dump,) = bench.dumps()
    assert (dump["reason"], dump["detail"]) == ("out_of_memory", {"memory": "device"})
    assert dump["events"][-1]["values"]["reason"].startswith("no memory snapshot: there is no")
    assert named(heard, "memory_snapshot_missing")


def test_sigterm_is_written_and_ctrl_c_is_not(bench):
    bench = bench()
    with bench.recorder:
        bench.take(2)
        bench.look(signal.SIGINT, signal.SIGCHLD)
        assert bench.dumps() == []
        bench.look(signal.SIGTERM)
        (dump,) = bench.dumps()
    assert (dump["reason"], dump["step"]) == ("sigterm", 2)


def test_a_request_by_file_is_served_and_the_file_goes(bench, heard, tmp_path):
    bench = bench()
    with bench.recorder:
        bench.take(2)
        (tmp_path / "facts" / REQUEST).touch()
        bench.look()
        assert [dump["reason"] for dump in bench.dumps()] == ["request"]
        assert not (tmp_path / "facts" / REQUEST).exists()
        bench.look()
        assert len(bench.dumps()) == 1
    (missing,) = named(heard, "memory_snapshot_missing")
    assert "no device allocator on the CPU" in missing.values["reason"]


def test_files_are_few_and_what_was_not_written_is_told(bench, heard):
    bench = bench(max_files=4)
    with bench.recorder:
        bench.take(ENOUGH + 1)
        for _ in range(6):
            bench.take(ms=1000.0)
            bench.look()
            bench.clock.pass_ms(MIN_INTERVAL_S * 1e3)
            bench.take(30)
        bench.take(ms=1000.0)
        bench.take(ms=1000.0)
        bench.look(signal.SIGTERM)
    reasons = [dump["reason"] for dump in bench.dumps()]
    assert sorted(reasons) == ["sigterm", "slow_step", "slow_step"]
    (withheld,) = named(heard, "black_box_withheld")
    assert withheld.values["slow_step"] >= 6


def test_nothing_to_tell_leaves_no_file_and_gives_every_signal_back(new_recorder, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)]
    settings = ProfilingConfig(resources=False)
    recorder = new_recorder(settings=settings)
    with recorder:
        assert any(thread.name == "black-box" for thread in threading.enumerate())
        assert signal.set_wakeup_fd(-1) != -1
    assert not any(thread.name == "black-box" for thread in threading.enumerate())
    assert [signal.getsignal(n) for n in (signal.SIGUSR1, signal.SIGUSR2)] == before
    assert list((tmp_path / "facts" / "blackbox").iterdir()) == []


def test_a_folder_that_cannot_be_written_costs_the_files_only(bench, tmp_path, caplog):
    bench = bench()
    (tmp_path / "facts").mkdir()
    bench.folder.symlink_to("/dev/null")
    with bench.recorder:
        bench.take(2)
        bench.look(signal.SIGTERM)
        bench.take(1)
    assert bench.recorder.run.status == "finished"


def test_redaction_leaves_modules_and_takes_paths(bench):
    bench = bench(redact=True)
    with pytest.raises(OSError, match="secret"):
        bench.fail(FileNotFoundError(2, "no such file", "/data/secret/x.png"))
    (path,) = bench.folder.glob("*.json")
    text = path.read_text()
    assert "/data/secret" not in text
    assert os.path.dirname(__file__) not in text  # noqa: PTH120
    assert "Bench.fail" in text


def test_a_dump_is_bounded_and_says_what_it_left_out():
    content = {"schema": 1, "kind": "k", "reason": "r", "steps": ["x" * 1000] * 9000, "few": [1]}
    text = bounded_text(content)
    assert len(text) <= MAX_BYTES + 1
    found = json.loads(text)
    assert found["few"] == [1]
    assert found["left_out"]["steps"] + len(found["steps"]) == 9000
    assert json.loads(bounded_text({**content, "steps": "y" * 3 * MAX_BYTES}))["reason"] == "r"


def test_it_wakes_seldom(bench):
    bench = bench()
    with bench.recorder:
        period = bench.box._watchdog.period_s
        assert period() == 1.0
        bench.take(ENOUGH + 1, ms=5.0)
        assert period() == 1.0
        bench.take(200, ms=2_000.0)
        assert period() == 4.0
        bench.take(200, ms=60_000.0)
        assert period() == 10.0
