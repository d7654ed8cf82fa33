"""Which GPU a rank trains on: CUDA_VISIBLE_DEVICES by CUDA's rules, and what the rank says."""

from types import SimpleNamespace

import pytest
import torch

from tests.vrtspike.profiling.nvml_replay import NvmlReplay, answers
from vrtspike.profiling.nvml_gpus import GpuIdentity, Gpus
from vrtspike.profiling.rank_device import RankDevice, uuid_by_environment
from vrtspike.profiling.visible_devices import visible_uuids

A, B, C = "GPU-aa11", "GPU-aa22", "GPU-cc33"
LISTED = tuple(GpuIdentity(index=n, uuid=uuid, name="X") for n, uuid in enumerate((A, B, C)))
FIRST = GpuIdentity(index=1, mig_index=0, uuid="MIG-77", parent_uuid=B, name="X 1g")
SECOND = GpuIdentity(index=1, mig_index=3, uuid="MIG-78", parent_uuid=B, name="X 1g")
DIVIDED = (*LISTED[:2], FIRST, SECOND, LISTED[2])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, (A, B, C)),
        ("2,0", (C, A)),
        (" 1 , 2 ", (B, C)),
        ("", ()),
        ("-1", ()),
        ("0,-1,1", (A,)),
        ("0,7,1", (A,)),
        ("0,x,1", (A,)),
        ("0,0", ()),
        ("GPU-cc33,0", (C, A)),
        ("GPU-cc", (C,)),
        ("gpu-cc", ()),
        ("GPU-aa", ()),
        ("GPU-", ()),
        ("0,GPU-aa1", ()),
        ("GPU-CC33", (C,)),
    ],
)
def test_the_list_is_read_as_cuda_reads_it(value, expected):
    assert visible_uuids(value, LISTED) == expected


def test_numbers_of_unlike_gpus_are_known_only_in_the_order_of_the_bus():
    unlike = (*LISTED[:2], GpuIdentity(index=2, uuid=C, name="Y"))
    assert visible_uuids("0", unlike) is None
    assert visible_uuids(None, unlike) is None
    assert visible_uuids("0", unlike, "PCI_BUS_ID") == (A,)
    assert visible_uuids("GPU-cc33", unlike) == (C,)
    assert visible_uuids("0", (GpuIdentity(index=0, name="X"),)) is None


def test_instances_are_named_by_uuid_and_a_divided_gpu_shows_its_first():
    assert visible_uuids("MIG-78", DIVIDED) == ("MIG-78",)
    assert visible_uuids("MIG-7", DIVIDED) == ()
    assert visible_uuids("1,2", DIVIDED) == ("MIG-77", C)
    assert visible_uuids(None, DIVIDED) == (A, "MIG-77", C)


def test_the_environment_is_laid_to_what_nvml_lists():
    nvml = NvmlReplay(answers("ampere_pair"))
    found = uuid_by_environment(0, {"CUDA_VISIBLE_DEVICES": "1"}, Gpus(nvml))
    assert found == "GPU-22222222-aaaa-bbbb-cccc-000000000002"
    assert uuid_by_environment(1, {"CUDA_VISIBLE_DEVICES": "1"}, Gpus(nvml)) is None
    assert nvml.open == 0


class Heard:
    def __init__(self):
        self.events = []

    def event(self, name, **values):
        self.events.append((name, values))


def test_a_rank_says_what_cuda_tells(monkeypatch):
    properties = SimpleNamespace(uuid="11111111-aaaa")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    heard = Heard()
    RankDevice(torch.device("cuda")).start(heard)
    assert heard.events == [
        ("rank_device", {"index": 3, "uuid": "11111111-aaaa", "source": "CUDA"})
    ]


def test_a_rank_without_a_gpu_says_nothing():
    heard = Heard()
    RankDevice(torch.device("cpu")).start(heard)
    assert heard.events == []
