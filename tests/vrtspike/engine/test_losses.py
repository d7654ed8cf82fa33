import math

import pytest
import torch

from vrtspike.engine.losses import TrainingLoss, charbonnier
from vrtspike.engine.perceptual import PerceptualLoss, load_perceptual
from vrtspike.engine.settings import CharbonnierConfig, LossConfig, PerceptualConfig
from vrtspike.errors import CheckpointError, ModelError


def clip(seed: int, size: int = 16) -> torch.Tensor:
    return torch.rand(1, 2, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_charbonnier_is_the_mean_of_the_root_of_square_and_delta_square():
    output, target = torch.tensor([0.3, 0.5]), torch.tensor([0.0, 0.5])
    expected = (math.sqrt(0.3**2 + 1e-6) + 1e-3) / 2
    assert charbonnier(output, target, 1e-3).item() == pytest.approx(expected, rel=1e-6)


def test_charbonnier_of_half_precision_keeps_delta():
    zero = torch.zeros(4, dtype=torch.float16)
    assert charbonnier(zero, zero, 1e-3).item() == pytest.approx(1e-3, rel=1e-6)


def test_the_weights_of_the_terms_add_up():
    settings = LossConfig(charbonnier=CharbonnierConfig(weight=2.0))
    output, sharp, teacher = clip(1), clip(2), clip(3)
    value = TrainingLoss(settings, teacher_weight=0.25)(output, sharp, teacher)
    expected = 0.75 * 2.0 * value.terms["charb"] + 0.25 * value.terms["distill"]
    assert list(value.terms) == ["charb", "distill"]
    assert value.total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert value.terms["distill"].item() == charbonnier(output, teacher, 1e-3).item()


def vgg_file(tmp_path, layers=("relu2_2",)):
    trunk = PerceptualLoss(layers).features.state_dict()
    path = tmp_path / "vgg16.pth"
    stored = {f"features.{key}": value for key, value in trunk.items()}
    torch.save(stored | {"classifier.0.weight": torch.zeros(3)}, path)
    return path


def test_the_perceptual_term_is_zero_for_equal_clips_and_reaches_only_the_output(tmp_path):
    perceptual = load_perceptual(("relu1_2", "relu2_2"), vgg_file(tmp_path))
    settings = LossConfig(vgg_perceptual=PerceptualConfig(weight=0.5, weights_path="there"))
    loss = TrainingLoss(settings, perceptual=perceptual)
    output, sharp = clip(1).requires_grad_(), clip(2).requires_grad_()
    value = loss(output, sharp)
    value.total.backward()
    assert value.total.item() == pytest.approx(
        (value.terms["charb"] + 0.5 * value.terms["vgg"]).item(), rel=1e-6
    )
    assert loss(clip(1), clip(1)).terms["vgg"].item() == 0.0
    assert value.terms["vgg"].item() > 0
    assert output.grad is not None
    assert not any(p.requires_grad for p in perceptual.parameters())


def test_layers_carry_the_numbers_of_torchvision():
    names = [key for key in PerceptualLoss(("relu5_3",)).features.state_dict() if "weight" in key]
    numbers = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert names == [f"{number}.weight" for number in numbers]


def test_a_file_without_the_needed_layer_is_named(tmp_path):
    path = vgg_file(tmp_path, ("relu1_2",))
    with pytest.raises(ModelError, match=r"vgg16\.pth.*'features\.5\.weight'"):
        load_perceptual(("relu2_2",), path)


def test_a_missing_file_says_so_and_downloads_nothing(tmp_path):
    with pytest.raises(CheckpointError, match=r"vgg\.pth: no such file .*WEIGHTS_PATH"):
        load_perceptual(("relu1_2",), tmp_path / "vgg.pth")
