import shutil

import pytest
import torch
from torch import nn

from vrtspike.engine.compilation import compile_stages, compiled_graphs, eagerly
from vrtspike.errors import ModelError


class Recomputed(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        part = torch.utils.checkpoint.checkpoint(self.inner, x, use_reentrant=False)
        return torch.relu(part) + x


def make_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(Recomputed(), Recomputed())


def counting(calls: list):
    def compiler(forward, **options):
        calls.append(options)
        return lambda x: forward(x) + 1

    return compiler


def test_each_named_stage_is_compiled_on_its_own_with_fixed_shapes():
    model, calls = make_model(), []
    names = list(model.state_dict())
    expected = model[1](model[0](torch.ones(1, 4))) + 1
    compile_stages(model, ["1"], counting(calls))
    assert calls == [{"dynamic": False}]
    torch.testing.assert_close(model(torch.ones(1, 4)), expected)
    assert list(model.state_dict()) == names


def test_hooks_stay_outside_of_what_is_compiled():
    model, heard = make_model(), []
    model[0].register_forward_hook(lambda *_: heard.append("after"))
    compile_stages(model, ["0"], counting([]))
    model(torch.ones(1, 4))
    assert heard == ["after"]


def test_a_failure_names_the_stage_and_the_switch():
    def failing(forward, **options):
        def call(x):
            raise torch._dynamo.exc.TorchDynamoException("no such thing\nand much more")

        return call

    model = make_model()
    compile_stages(model, ["0"], failing)
    with pytest.raises(
        ModelError, match=r"stage 0: .*no such thing; set TRAIN.COMPILE_MODEL=false"
    ):
        model(torch.ones(1, 4))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_compiled_gradients_equal_plain_ones_with_checkpointing():
    plain, compiled = make_model(), make_model()
    compile_stages(compiled, ["0", "1"])
    before = compiled_graphs()
    for model in (plain, compiled):
        model(torch.ones(2, 4)).sum().backward()
    assert compiled_graphs() > before
    for a, b in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    before = compiled_graphs()
    with eagerly(compiled=True), torch.no_grad():
        compiled(torch.ones(7, 4))
    assert compiled_graphs() == before
