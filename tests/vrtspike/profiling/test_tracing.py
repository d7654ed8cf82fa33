"""Which ranks are traced, under which names, and what NVTX gets."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from vrtspike.profiling.kineto import torch_tracer
from vrtspike.profiling.ranges import BothRanges, NvtxRanges, TraceRanges
from vrtspike.profiling.recording import RankPlace
from vrtspike.profiling.settings import ProfilingConfig
from vrtspike.yaml_settings import compose, read_dataclass

PLAN = ProfilingConfig(
    wait=3, warmup=1, active=2, resources=False, max_trace_mib=None, budget_share=None
)


@pytest.mark.parametrize(("ranks", "traced"), [("all", [0, 1, 2]), ((0, 2), [0, 2]), ((5,), [])])
def test_any_subset_of_ranks_is_traced(new_recorder, tmp_path, heard, ranks, traced):
    settings = replace(PLAN, wait=0, warmup=0, active=1, ranks=ranks)
    for rank in range(3):
        place = RankPlace(rank=rank, local_rank=rank, world_size=3)
        with new_recorder(settings=settings, profile=True, place=place) as recorder:
            recorder.begin_step(1)
            recorder.end_step(micro_batches=1, samples=1)
    names = sorted(path.name for path in (tmp_path / "facts").glob("*.pt.trace.json.gz"))
    assert [name.partition(".")[0].rpartition("_")[2] for name in names] == [
        f"rank{rank}" for rank in traced
    ]
    said = [e.values["reason"] for e in heard.events if e.name == "profile_missing"]
    assert said == (["no trace of rank 5: the run has 3 ranks"] if ranks == (5,) else [])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ranks": ()}, "ranks: must be all or a list of ranks"),
        ({"ranks": (-1,)}, "ranks: must be all or a list of ranks"),
        ({"repeat": 0}, "repeat: must be at least 1"),
        ({"max_trace_mib": 0}, "max_trace_mib: must be null or at least 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ProfilingConfig(**wrong)


@pytest.mark.parametrize(("text", "ranks"), [("all", "all"), ("[0, 3]", (0, 3))])
def test_ranks_are_written_as_a_word_or_a_list(text, ranks):
    node = compose(f"RANKS: {text}", "config.yaml")
    assert read_dataclass(node, ProfilingConfig, "config.yaml").ranks == ranks


def test_modules_of_an_eager_model_are_recorded_with_stacks_only():
    """What `with_modules` is documented to do; a test that fails when PyTorch learns more."""
    model = nn.Sequential(nn.Linear(4, 4))
    texts = []
    for options in ({"with_modules": True}, {"with_stack": True}):
        tracer = torch_tracer(replace(PLAN, **options), torch.device("cpu"))
        tracer.prepare_trace()
        tracer.start_trace()
        model(torch.zeros(1, 4))
        tracer.stop_trace()
        with tempfile.NamedTemporaryFile() as file:
            tracer.export_chrome_trace(file.name)
            texts.append(Path(file.name).read_text())
    by_modules, by_stacks = texts
    assert "Module Hierarchy" not in by_modules
    assert "nn.Module: Linear_0" in by_stacks


class FakeNvtx:
    def __init__(self):
        self.log, self.open = [], {}

    def range_start(self, msg):
        self.log.append(f"+{msg}")
        self.open[len(self.log)] = msg
        return len(self.log)

    def range_end(self, range_id):
        self.log.append(f"-{self.open.pop(range_id)}")


@pytest.fixture
def nvtx(monkeypatch):
    fake = FakeNvtx()
    monkeypatch.setattr(torch.cuda, "nvtx", fake)
    return fake


def test_nvtx_has_the_names_of_phases_and_stages_in_every_step(new_recorder, device, nvtx, heard):
    model = nn.Sequential(nn.Linear(4, 4))
    settings = replace(PLAN, nvtx=True)
    plan = {"settings": settings, "device": torch.device("cuda"), "timer": device.timer()}
    with new_recorder(**plan) as recorder:
        recorder.observe(model, {"vrt.stage1": ["0"]})
        for step in (1, 2):
            recorder.begin_step(step)
            with recorder.phase("forward"), torch.no_grad():
                model(torch.zeros(1, 4))
            recorder.end_step(micro_batches=1, samples=1)
    step = ["+forward", "+vrt.stage1", "-vrt.stage1", "-forward"]
    assert nvtx.log == step * 2
    assert "nvtx_missing" not in [event.name for event in heard.events]


def test_ranges_need_not_nest_and_two_takers_get_the_same(nvtx):
    trace = TraceRanges()
    both = BothRanges(trace, NvtxRanges())
    first, second = both.open("a"), both.open("b")
    both.close(first)
    both.close(second)
    both.close(None)
    assert nvtx.log == ["+a", "+b", "-a", "-b"]


def test_nvtx_without_cuda_is_said_once(new_recorder, heard, nvtx):
    with new_recorder(settings=replace(PLAN, nvtx=True)) as recorder:
        for step in (1, 2):
            recorder.begin_step(step)
            with recorder.phase("forward"):
                pass
            recorder.end_step(micro_batches=1, samples=1)
    said = [event.values["reason"] for event in heard.events if event.name == "nvtx_missing"]
    assert said == ["PROFILING.NVTX needs a CUDA device"]
    assert nvtx.log == []
