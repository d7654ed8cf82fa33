from types import SimpleNamespace

import pytest
import torch

from vrtspike import torch_build
from vrtspike.measured_costs import standard_sizes
from vrtspike.torch_build import is_built_for_gpus


def test_it_agrees_with_pytorch_itself():
    assert is_built_for_gpus() == bool(torch.version.cuda or torch.version.hip)


@pytest.mark.parametrize(
    ("library", "told"),
    [("libtorch_cuda.so", True), ("libtorch_hip.so", True), ("libtorch_cpu.so", False)],
)
def test_the_libraries_tell_the_build(monkeypatch, tmp_path, library, told):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / library).touch()
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(torch_build, "find_spec", lambda name: found)
    assert is_built_for_gpus() is told


def test_no_pytorch_is_no_build_for_gpus(monkeypatch):
    monkeypatch.setattr(torch_build, "find_spec", lambda name: None)
    assert not is_built_for_gpus()

    def refuse(name):
        raise ValueError(f"{name}.__spec__ is None")

    monkeypatch.setattr(torch_build, "find_spec", refuse)
    assert not is_built_for_gpus()


def test_processes_of_a_build_for_gpus_are_assumed_larger_also_on_a_cpu():
    plain, heavy = (standard_sizes("cpu", gpu_build=each) for each in (False, True))
    assert plain.trainer_bytes < heavy.trainer_bytes
    assert plain.library_bytes < heavy.library_bytes
    assert plain.launcher_bytes < heavy.launcher_bytes
    assert plain.worker_bytes == heavy.worker_bytes
    assert "for CPU on" in plain.source
    assert "for GPUs on" in heavy.source
    on_gpu = standard_sizes("cuda", gpu_build=True)
    assert heavy.trainer_bytes < on_gpu.trainer_bytes
    assert heavy.launcher_bytes == on_gpu.launcher_bytes
