import pytest
import torch

from vrtspike.engine.precision import choose_precision
from vrtspike.engine.settings import TrainConfig

CUDA = torch.device("cuda", 0)


@pytest.mark.filterwarnings("ignore:.*GradScaler is enabled, but CUDA")
@pytest.mark.parametrize(
    ("wish", "supported", "expected"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float16),
        ("fp16", True, torch.float16),
        ("bf16", False, torch.bfloat16),
    ],
)
def test_auto_takes_bfloat16_where_the_gpu_has_it(wish, supported, expected):
    settings = TrainConfig(epochs=1, amp_enabled=True, amp_dtype=wish)
    assert choose_precision(settings, CUDA, bf16_supported=supported).half is expected


def test_on_the_cpu_it_is_off_and_says_so():
    precision = choose_precision(TrainConfig(epochs=1, amp_enabled=True), torch.device("cpu"))
    assert precision.half is None
    assert not precision.scaler.is_enabled()
    assert "off on the CPU" in precision.note
    with precision.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32


def test_without_the_switch_a_gpu_computes_in_float32():
    assert choose_precision(TrainConfig(epochs=1), CUDA, bf16_supported=True).half is None


def test_the_scale_of_float16_gradients_begins_where_the_configuration_says(monkeypatch):
    asked = {}
    monkeypatch.setattr(
        "vrtspike.engine.precision.GradScaler", lambda device, **options: asked.update(options)
    )
    settings = TrainConfig(epochs=1, amp_enabled=True, amp_dtype="fp16", init_scale=1024.0)
    assert "from 1024" in choose_precision(settings, CUDA, bf16_supported=True).note
    assert asked == {"init_scale": 1024.0}
