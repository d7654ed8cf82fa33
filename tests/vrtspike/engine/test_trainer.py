import math
import re
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from vrtspike.data.cache import LRUCache
from vrtspike.data.loading_faults import LoadingDiedError, explain_fault
from vrtspike.engine.batch_stream import BatchStream
from vrtspike.engine.cache_facts import CacheFacts
from vrtspike.engine.checkpoint import Position
from vrtspike.engine.clip_model import ClipRestorer
from vrtspike.engine.distributed import World
from vrtspike.engine.saving import check_folder
from vrtspike.engine.validation import Validator
from vrtspike.errors import CheckpointError, DataError, VRTSpikeError
from vrtspike.profiling.null_recorder import NullRecorder

CPU = torch.device("cpu")


def joined(batches):
    keys = ("blur", "sharp", "spike_vox")
    return {key: torch.cat([one[key] for one in batches]) for key in keys}


def test_n_micro_batches_equal_one_batch_of_n(bench, batch):
    parts = [batch(seed) for seed in range(4)]
    split, whole = bench(parts, 1, accumulation=4), bench([joined(parts)], 1)
    split.train()
    whole.train()
    pairs = zip(split.learner.model.parameters(), whole.learner.model.parameters(), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


class Heard(NullRecorder):
    def __init__(self):
        self.steps, self.phases = [], []

    def phase(self, name):
        self.phases.append(name)
        return super().phase(name)

    def end_step(self, **values):
        self.steps.append(values)


def test_a_step_is_told_with_the_means_of_its_micro_batches(bench, batch):
    parts = [batch(seed, clips=2) for seed in range(2)]
    one = bench(parts, 1, accumulation=2)
    expected = [one.learner.loss_of(part).item() for part in parts]
    heard = Heard()
    one.train(recorder=heard)
    (step,) = heard.steps
    assert (step["micro_batches"], step["samples"], step["lr"]) == (2, 4, 0.1)
    assert step["loss"].item() == pytest.approx(sum(expected) / 2)
    assert step["loss_terms"]["charb"].item() == pytest.approx(sum(expected) / 2)
    micro_batch = ["data_wait", "h2d", "forward", "loss", "backward"]
    assert heard.phases == [*micro_batch, *micro_batch, "optimizer"]


def test_left_over_micro_batches_begin_the_next_epochs_first_step(bench, batch):
    one = bench([batch(seed) for seed in range(5)], 4, accumulation=3)
    trainer = one.trainer()
    trainer.run()
    # 12 micro-batches of epochs of 5: two epochs and two of the third.
    assert trainer.position == Position(step=4, epoch=2, micro_batch=2)
    assert one.crew.stream._source.started == [(0, 0), (1, 0), (2, 0)]
    epochs = [line for line in one.said if line.startswith("[epoch]")]
    assert [re.match(r"\[epoch\] (\d) \| steps=(\d)", line).groups() for line in epochs] == [
        ("1", "2"),
        ("2", "2"),
    ]


def test_the_epoch_line_holds_means_and_leaves_validation_time_out(bench, batch):
    now = iter(range(100))
    one = bench([batch(1)], 1)
    loss = one.learner.loss_of(batch(1)).item()
    one.train(clock=lambda: next(now))
    expected = f"[epoch] 1 | steps=1 | loss={loss:.4f} (charb={loss:.4f}) | lr=1.00e-01 | time=1.0s"
    assert one.said[0].startswith(expected)


def test_a_stream_begins_anywhere_and_an_empty_one_is_refused(batch, list_source):
    source = list_source([batch(seed) for seed in range(3)])
    stream = BatchStream(source, epoch=4, micro_batch=2)
    assert stream.next()["meta"]["seq"] == ["clip2"]
    assert (stream.epoch, stream.micro_batch) == (5, 0)
    assert stream.next()["meta"]["seq"] == ["clip0"]
    assert source.started == [(4, 2), (5, 0)]
    with pytest.raises(DataError, match="fewer training samples"):
        BatchStream(list_source([]))


def test_checkpoints_lie_on_their_steps_and_the_last_one_at_the_end(bench, batch):
    one = bench([batch(1)], 5, save_every=2)
    assert one.train()
    assert [(name, position.step) for name, position in one.saver.saved] == [
        ("last.pt", 2),
        ("last.pt", 4),
        ("last.pt", 5),
    ]


def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint(bench, batch):
    one = bench([batch(1)], 5)
    one.crew.stop.receive(signal.SIGINT)
    assert not one.train()
    assert one.saver.saved == []

    class InTheFirstStep(Heard):
        def begin_step(self, step):
            one.crew.stop.receive(signal.SIGINT)

    one = bench([batch(1)], 5)
    assert not one.train(recorder=InTheFirstStep())
    assert [position.step for _, position in one.saver.saved] == [1]


def test_a_full_disk_in_the_middle_is_said_and_at_the_end_an_error(bench, batch):
    one = bench([batch(1)], 3, save_every=2)

    def full(name, position):
        raise CheckpointError(f"{name}: no space")

    one.saver.save = full
    with pytest.raises(CheckpointError, match="no space"):
        one.train()
    assert any("[checkpoint] step 2 | WARNING: last.pt: no space" in line for line in one.said)


def test_a_disk_that_stays_full_is_said_once_and_then_counted(bench, batch):
    one = bench([batch(1)], 9, save_every=2)
    save = one.saver.save

    def full(name, position):
        if position.step < 8:
            raise CheckpointError(f"{name}: no space")
        save(name, position)

    one.saver.save = full
    assert one.train()
    said = [line for line in one.said if "WARNING" in line]
    assert said == [
        "[checkpoint] step 2 | WARNING: last.pt: no space",
        "[checkpoint] step 6 | WARNING: 2 further checkpoints could not be written, this one last",
    ]


class Dying:
    def __len__(self):
        return 2

    def start(self, epoch, micro_batch):
        yield from ()
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated. ")


def test_dead_loading_processes_are_named_and_forgiven_after_a_signal(bench, batch):
    one = bench([batch(1)], 5)
    with pytest.raises(LoadingDiedError, match=r"pid 7.*TOTAL_WORKERS"):
        one.train(stream=BatchStream(Dying()))

    class Signalled(NullRecorder):
        def begin_step(self, step):
            one.crew.stop.receive(signal.SIGTERM)

    assert not one.train(stream=BatchStream(Dying()), recorder=Signalled())
    assert one.crew.stop.exit_code == 143


@pytest.mark.parametrize(
    ("signal_name", "words"),
    [
        ("Killed", "`python diagnose_memory.py` tells"),
        ("Bus error", "--shm-size"),
        ("Terminated", "If host memory"),
    ],
)
def test_the_signal_of_a_dead_loading_process_is_found_in_what_led_to_the_error(signal_name, words):
    first = RuntimeError(f"DataLoader worker (pid 7) is killed by signal: {signal_name}. ")
    second = RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
    second.__cause__ = first
    for error in (first, second):
        explained = explain_fault(error)
        assert explained.signal_name == signal_name
        assert words in str(explained)
    assert explain_fault(RuntimeError("DataLoader worker (pid(s) 7) exited")).signal_name is None
    assert explain_fault(RuntimeError("something else")) is None


def test_a_loading_process_without_shared_memory_is_told_from_one_with_a_bug():
    caught = "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback:\n  File x\n"
    full = "unable to write to file </torch_158_31_2>: No space left on device (28)"
    explained = explain_fault(RuntimeError(f"{caught}RuntimeError: {full}"))
    assert str(explained).startswith(f"{full}. ")
    assert "--shm-size" in str(explained)
    assert explain_fault(RuntimeError(f"{caught}RuntimeError: a bug")) is None


def validator(learner, batches):
    restorer = ClipRestorer(learner.model, use_spike=True, least=(16, 16))
    return Validator(restorer, batches, learner.precision, World(CPU))


def test_validation_keeps_the_best_and_leaves_mode_and_random_numbers_alone(bench, batch):
    one = bench([batch(1)], 1)
    one.learner.model.train()
    before = torch.get_rng_state()
    one.train(validator=validator(one.learner, [batch(2), batch(3, clips=2)]))
    assert torch.equal(torch.get_rng_state(), before)
    assert one.learner.model.training
    line = next(line for line in one.said if line.startswith("[val]"))
    shape = (
        r"\[val\] step 1 \| PSNR_RGB=[\d.]+ PSNR_Y=[\d.]+ SSIM_Y=[\d.]+ \| input PSNR_RGB=[\d.]+"
    )
    assert re.fullmatch(shape, line)
    assert [name for name, _ in one.saver.saved] == ["best.pt", "last.pt"]


def test_a_model_that_gives_no_numbers_any_more_is_one_line(bench, batch):
    learner = bench([batch(1)], 1).learner
    with torch.no_grad():
        next(learner.model.parameters()).fill_(math.nan)
    with pytest.raises(VRTSpikeError, match=r"the output holds NaN: lower TRAIN.OPTIM.LR"):
        validator(learner, [batch(2)]).measure()


def test_a_folder_that_takes_no_checkpoint_is_said_before_the_training(tmp_path):
    check_folder(tmp_path / "new" / "run")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="checkpoints cannot be written here"):
        check_folder(tmp_path / "file" / "run")


def test_validation_weighs_every_frame_equally(bench, batch):
    one = bench([batch(1)], 1)
    parts = [batch(2), batch(3, clips=2), batch(4)]
    split = validator(one.learner, parts).measure()
    whole = validator(one.learner, [joined(parts)]).measure()
    assert split.frames == whole.frames == 8
    for name, value in whole.as_values().items():
        assert split.as_values()[name] == pytest.approx(value, rel=1e-6)


def test_the_cache_is_told_of_at_each_epochs_end_and_at_the_runs_whatever_ends_it(bench, batch):
    class Writing(NullRecorder):
        def __init__(self):
            self.events = []

        def event(self, name, **values):
            self.events.append((name, values))

    cache, writing = LRUCache(1000), Writing()
    cache.put("a", np.zeros(8))
    one = bench([batch(1), batch(2)], 5)

    def read():
        cache.view("a")
        return replace(cache.stats(), first_rank=3)

    told = CacheFacts(
        read=read, trouble=lambda: "", owner="Set", recorder=writing, say=one.said.append
    )
    one.train(cache=told)
    assert [name for name, _ in writing.events] == ["cache_stats"] * 3
    assert [values["hits"] for _, values in writing.events] == [1, 2, 3]
    last = writing.events[-1][1]
    assert (last["num_items"], last["used_bytes"], last["limit_bytes"]) == (1, 64, 1000)
    assert (last["first_rank"], last["evicted"], last["refused"]) == (3, 0, 0)
    assert one.said[-1].splitlines()[0] == "[Set] Cache Stats:"
    with pytest.raises(KeyError):
        bench([{}], 1).train(cache=told)
    assert len(writing.events) == 4
    assert not [line for line in one.said if "WARNING" in line]


@pytest.mark.parametrize("since", [0, 2])
def test_a_cache_without_room_is_warned_of_once_when_it_is_met(bench, batch, since):
    asked = []

    def trouble():
        asked.append(len(one.said))
        return "CACHE_DIR /full is full" if len(asked) > since else ""

    one = bench([batch(1), batch(2)], 5)
    told = CacheFacts(
        read=LRUCache(1000).stats,
        trouble=trouble,
        owner="Set",
        recorder=NullRecorder(),
        say=one.said.append,
    )
    one.train(cache=told)
    assert one.said.count("[data] WARNING: CACHE_DIR /full is full") == 1
    assert len(asked) == since + 1  # in each step, and no more once it is said


def test_a_cache_whose_disk_failed_is_said_and_breaks_nothing():
    def read():
        raise OSError(5, "Input/output error")

    said, told = [], NullRecorder()
    CacheFacts(read=read, trouble=read, owner="Cache", recorder=told, say=said.append).conclude()
    assert said == ["[data] WARNING: the cache tells nothing any more: Input/output error"]
