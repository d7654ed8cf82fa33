"""Window attention: both forms agree, and simple cases are what the formula says."""

import pytest
import torch

from vrtspike.errors import ModelError
from vrtspike.model.attention import (
    BlockGroup,
    BlockSpec,
    DropPath,
    WindowAttention,
    relative_position_index,
    use_fused,
)
from vrtspike.model.windows import to_tokens, to_windows, window_plan


def make_group(mode, *, mutual=False, window=(2, 4, 4), depth=2, **extra):
    torch.manual_seed(3)
    spec = BlockSpec(dim=8, heads=2, window=window, mutual=mutual, attention=mode, **extra)
    return BlockGroup(spec, [0.0] * depth)


CASES = [
    ((2, 2, 8, 8), (2, 4, 4), True),
    ((1, 5, 10, 13), (2, 4, 4), True),
    ((2, 7, 9, 8), (4, 4, 4), False),
    ((1, 3, 17, 16), (6, 4, 4), False),
    ((1, 3, 8, 8), (1, 4, 4), False),
]


@pytest.mark.parametrize(("shape", "window", "mutual"), CASES)
def test_explicit_and_fused_agree_in_output_and_gradient(shape, window, mutual):
    x = torch.randn(*shape, 8)
    results = []
    for mode in ("explicit", "fused"):
        group = make_group(mode, mutual=mutual, window=window)
        leaf = x.clone().requires_grad_()
        out = group(leaf)
        (out**2).sum().backward()
        results.append([out, leaf.grad, *(p.grad for p in group.parameters())])
    for explicit, fused in zip(*results, strict=True):
        assert (explicit - fused).norm() <= 1e-4 * explicit.norm() + 1e-6


def test_a_merged_mask_equals_masks_by_group(monkeypatch):
    x = torch.randn(2, 4, 8, 16, 8)
    group = make_group("explicit")
    from vrtspike.model import windows

    outs = []
    for limit in (0, 1000):
        monkeypatch.setattr(windows, "_MERGED_WINDOWS", limit)
        windows._plan.cache_clear()
        outs.append(group(x))
    windows._plan.cache_clear()
    assert (outs[0] - outs[1]).abs().max() < 1e-5


def test_a_window_attends_as_written_out_by_hand():
    torch.manual_seed(0)
    attention = WindowAttention(BlockSpec(dim=8, heads=2, window=(2, 2, 2), attention="explicit"))
    x = torch.randn(1, 2, 2, 2, 8)
    plan = window_plan(x.shape, (2, 2, 2), False, x.device)
    out = to_tokens(attention(to_windows(x, plan), plan), plan, x.shape).view(8, 8)
    q, k, v = attention.qkv_self(x.view(8, 8)).chunk(3, dim=-1)
    heads = []
    for h in range(2):
        part = slice(4 * h, 4 * h + 4)
        logits = q[:, part] @ k[:, part].T / 2.0
        bias = attention.relative_position_bias_table[:, h][attention.relative_position_index]
        heads.append((logits + bias).softmax(-1) @ v[:, part])
    assert (attention.proj(torch.cat(heads, -1)) - out).abs().max() < 1e-5


def test_mutual_attention_swaps_the_frames():
    """With a frame of equal keys and values, what looks at it sees just its value."""
    torch.manual_seed(0)
    spec = BlockSpec(dim=8, heads=2, window=(2, 2, 2), mutual=True, attention="explicit")
    attention = WindowAttention(spec)
    attention.position_bias.zero_()
    attention.proj = torch.nn.Linear(16, 16, bias=False)
    torch.nn.init.eye_(attention.proj.weight)
    x = torch.randn(1, 2, 2, 2, 8)
    x[:, 0] = x[:, 0, :1, :1]
    plan = window_plan(x.shape, (2, 2, 2), False, x.device)
    rows = attention(to_windows(x, plan), plan)
    mutual = rows[:, :8]
    # First what the second frame sees in the first one ...
    value = attention.qkv_mut(x[0, 0, 0, 0])[16:]
    assert (mutual[:4] - value).abs().max() < 1e-5
    # ... then what the first frame, whose tokens all ask the same, sees in the second one.
    assert (mutual[4:] - mutual[4]).abs().max() < 1e-5
    assert (mutual[4:] - value).abs().max() > 1e-2


def test_position_index_depends_only_on_the_displacement():
    index = relative_position_index((2, 3, 4))
    assert index.unique().numel() == 3 * 5 * 7
    assert index.min() == 0
    assert index.max() == 3 * 5 * 7 - 1
    assert index[0, 0] == index[23, 23]
    assert index[0, 1] == index[5, 6]


def test_auto_is_explicit_only_in_training_on_the_cpu():
    x = torch.zeros(1)
    assert not use_fused("auto", x)
    with torch.no_grad():
        assert use_fused("auto", x)
    assert use_fused("auto", torch.zeros(1, device="meta"))
    assert use_fused("fused", x)
    with torch.no_grad():
        assert not use_fused("explicit", x)


def test_drop_path_drops_whole_clips_and_keeps_the_mean():
    torch.manual_seed(0)
    drop = DropPath(0.25).train()
    out = drop(torch.ones(4000, 2, 3))
    assert out.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert (out.flatten(1).std(dim=1) == 0).all()
    assert out.mean().item() == pytest.approx(1.0, abs=0.05)
    x = torch.randn(3, 2)
    assert torch.equal(drop.eval()(x), x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "3 attention heads do not divide 8 channels"),
        ({"attention": "flash"}, "auto, explicit or fused, got 'flash'"),
        ({"mutual": True, "dim": 6, "heads": 2}, "divisible by 4, got 6"),
    ],
)
def test_impossible_blocks_are_refused(change, message):
    with pytest.raises(ModelError, match=message):
        BlockSpec(**{"dim": 8, "heads": 2, "window": (2, 4, 4), **change})
