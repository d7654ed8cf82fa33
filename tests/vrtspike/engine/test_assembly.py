from dataclasses import replace

import pytest
import torch

from vrtspike.config import config_from_mapping
from vrtspike.engine import assembly
from vrtspike.engine.assembly import make_network, make_schedule
from vrtspike.engine.clip_model import least_side
from vrtspike.engine.distributed import World, choose_device, join_world
from vrtspike.errors import ConfigError, VRTSpikeError


@pytest.fixture
def config(tiny_settings):
    return config_from_mapping(tiny_settings("nowhere"), "test")


def test_epochs_count_whole_accumulation_groups_over_all_of_them(config):
    train = replace(config.train, epochs=3, total_steps=99, gradient_accumulation_steps=2)
    schedule = make_schedule(replace(config, train=train), micro_batches_per_epoch=5)
    assert schedule.total_steps == 7
    assert schedule.rate(0) == pytest.approx(1e-3)
    assert schedule.rate(7) == pytest.approx(0.0)


def test_steps_are_taken_as_given(config):
    assert make_schedule(config, micro_batches_per_epoch=5).total_steps == 3


def test_epochs_without_a_single_step_are_refused(config):
    train = replace(config.train, epochs=1, gradient_accumulation_steps=9)
    with pytest.raises(ConfigError, match=r"5 batches in an epoch .*GRADIENT_ACCUMULATION_STEPS=9"):
        make_schedule(replace(config, train=train), micro_batches_per_epoch=5)


def test_the_smallest_picture_follows_from_the_window(config):
    assert least_side(config) == (40, 40)
    model = replace(config.model, window_size=(6, 8, 7))
    assert least_side(replace(config, model=model)) == (64, 56)


class DdpOf211:
    """What DistributedDataParallel takes in PyTorch 2.11 and 2.12, where no buffer goes around."""

    def __init__(
        self, module, device_ids=None, broadcast_buffers=True, gradient_as_bucket_view=False
    ):
        self.buffers_go_around = broadcast_buffers


class DdpOf213(DdpOf211):
    """From 2.13 on, which warns of the old name's False."""

    def __init__(
        self,
        module,
        device_ids=None,
        broadcast_buffers=None,
        gradient_as_bucket_view=False,
        forward_sync_buffers=None,
    ):
        assert broadcast_buffers is None
        self.buffers_go_around = forward_sync_buffers


@pytest.mark.parametrize("known", [DdpOf211, DdpOf213])
def test_no_buffer_goes_around_by_whatever_name_this_pytorch_has_for_it(known, config, monkeypatch):
    monkeypatch.setattr(assembly, "DistributedDataParallel", known)
    network = make_network(config, torch.nn.Linear(1, 1), World(torch.device("cpu"), size=2))
    assert network.buffers_go_around is False


def test_alone_a_process_is_its_whole_world():
    world = join_world("cpu", environ={})
    assert world == World(torch.device("cpu"))
    assert world.is_main
    values = torch.ones(2)
    assert world.sum(values) is values
    assert (world.share("x"), world.gather("x")) == ("x", ["x"])
    world.leave()


@pytest.mark.parametrize(
    ("built_for", "why"), [(None, "is a build for CPUs alone"), ("13.0", "no driver that fits")]
)
def test_without_a_gpu_the_build_of_pytorch_tells_why(monkeypatch, built_for, why):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(torch.version, "hip", None)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(VRTSpikeError, match=f"PyTorch sees no GPU .*{why}.*--device cpu or auto"):
        choose_device("cuda")


def test_a_process_without_a_gpu_of_its_own_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", local_rank=1) == torch.device("cuda", 1)
    assert choose_device("cpu", local_rank=1) == torch.device("cpu")
    with pytest.raises(VRTSpikeError, match=r"process 2 of this machine has no GPU .* 2 found"):
        choose_device("cuda", local_rank=2)
