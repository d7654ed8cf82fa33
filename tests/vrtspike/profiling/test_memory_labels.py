"""What the allocator's history is told: step, phase and stage, whatever nests in what."""

import torch

from vrtspike.profiling.memory_labels import MemoryLabels, memory_labels


def test_the_innermost_phase_and_stage_are_said() -> None:
    said: list[str] = []
    labels = MemoryLabels(said.append)
    labels.step_begins(7)
    forward = labels.open("forward")
    stage = labels.open("vrt.stage1")
    inner = labels.open("my block")
    labels.close(inner)
    labels.close(stage)
    labels.close(forward)
    backward = labels.open("backward")
    part = labels.open("vrt.stage1.backward")
    again = labels.open("flow.recompute")
    labels.close(part)  # ends in another hook than it began
    labels.close(again)
    labels.close(backward)
    labels.step_ends(7)
    assert said == [
        "step=7",
        "step=7 phase=forward",
        "step=7 phase=forward stage=vrt.stage1",
        "step=7 phase=forward stage=my_block",
        "step=7 phase=forward stage=vrt.stage1",
        "step=7 phase=forward",
        "step=7",
        "step=7 phase=backward",
        "step=7 phase=backward stage=vrt.stage1",
        "step=7 phase=recompute stage=flow",
        "step=7 phase=recompute stage=flow",
        "step=7 phase=backward",
        "step=7",
        "",
    ]


def test_a_history_without_labels_costs_no_step() -> None:
    calls: list[str] = []

    def refuses(label: str) -> None:
        calls.append(label)
        raise TypeError("takes no label")

    labels = MemoryLabels(refuses)
    labels.step_begins(1)
    labels.close(labels.open("forward"))
    labels.finish()
    assert calls == ["step=1"]


def test_they_need_a_gpu_and_a_history() -> None:
    assert memory_labels(torch.device("cpu"), 1000) is None
    assert memory_labels(torch.device("cuda"), 0) is None
    assert memory_labels(torch.device("cuda"), 1000) is not None
