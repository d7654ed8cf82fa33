"""Warping and deformable convolution: laws that need no reference."""

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from vrtspike.errors import ModelError
from vrtspike.model import alignment
from vrtspike.model.alignment import (
    DeformableAlign,
    align_neighbours,
    deform_conv2d,
    flow_warp,
)


def still(n, groups, h, w):
    return torch.zeros(n, 18 * groups, h, w), torch.ones(n, 9 * groups, h, w)


@pytest.mark.parametrize("size", [(9, 12), (5, 1), (1, 6)])
def test_without_offsets_it_is_a_convolution(size):
    x, weight, bias = torch.randn(2, 8, *size), torch.randn(6, 8, 3, 3), torch.randn(6)
    offset, mask = still(2, 4, *size)
    out = deform_conv2d(x, offset, mask, weight, bias).permute(0, 3, 1, 2)
    assert (out - F.conv2d(x, weight, bias, padding=1)).abs().max() < 1e-4


def test_a_whole_offset_moves_the_image():
    x, weight = torch.randn(1, 4, 8, 10), torch.randn(4, 4, 3, 3)
    offset, mask = still(1, 2, 8, 10)
    offset[:, 0::2] = 1.0  # dy
    offset[:, 1::2] = -2.0  # dx
    out = deform_conv2d(x, offset, mask, weight).permute(0, 3, 1, 2)
    moved = F.conv2d(F.pad(x, (3, 1, 1, 2)), weight)[..., 1:, :]  # reads at (y + 1, x - 2)
    moved = moved[..., :8, :10]
    assert (out[..., :6, 3:] - moved[..., :6, 3:10]).abs().max() < 1e-4


def test_the_mask_weighs_each_group_and_tap():
    x, weight = torch.randn(1, 4, 5, 6), torch.randn(3, 4, 3, 3)
    offset, mask = still(1, 2, 5, 6)
    mask.zero_()
    mask[:, 9 + 4] = 0.5  # the centre tap of the second group
    out = deform_conv2d(x, offset, mask, weight).permute(0, 3, 1, 2)
    wanted = 0.5 * F.conv2d(x[:, 2:], weight[:, 2:, 1:2, 1:2])
    assert (out - wanted).abs().max() < 1e-5


def test_gradients_against_finite_differences():
    torch.manual_seed(0)
    # Half-way between pixels, where bilinear sampling is smooth.
    arguments = [
        torch.randn(2, 4, 4, 5),
        torch.rand(2, 36, 4, 5) * 0.6 + 0.2,
        torch.rand(2, 18, 4, 5),
        torch.randn(3, 4, 3, 3),
        torch.randn(3),
    ]
    leaves = [a.double().requires_grad_() for a in arguments]
    single = [a.clone().requires_grad_() for a in arguments]
    direction = [torch.randn_like(a) for a in arguments]
    out = deform_conv2d(*single)
    weights = torch.randn(out.shape)
    (out * weights).sum().backward()
    slope = sum((d * s.grad).sum() for d, s in zip(direction, single, strict=True)).item()
    step = 1e-3
    ends = [
        (
            deform_conv2d(
                *(
                    a.detach().float() + sign * step * d
                    for a, d in zip(leaves, direction, strict=True)
                )
            )
            * weights
        ).sum()
        for sign in (1, -1)
    ]
    assert ((ends[0] - ends[1]) / (2 * step)).item() == pytest.approx(slope, rel=2e-2)


@pytest.mark.parametrize("constant", ["_COLUMN_BYTES_CPU", "_RECOMPUTE_BYTES"])
def test_pieces_and_recomputation_change_nothing(monkeypatch, constant):
    torch.manual_seed(0)
    arguments = [
        torch.randn(3, 4, 6, 7),
        torch.randn(3, 36, 6, 7),
        torch.rand(3, 18, 6, 7),
        torch.randn(4, 4, 3, 3),
        torch.randn(4),
    ]
    results = []
    for _ in range(2):
        leaves = [a.clone().requires_grad_() for a in arguments]
        out = deform_conv2d(*leaves)
        (out**2).sum().backward()
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
        monkeypatch.setattr(alignment, constant, 1)
    for whole, pieces in zip(*results, strict=True):
        assert torch.allclose(whole, pieces, rtol=1e-4, atol=1e-5)


def test_channels_that_do_not_fit_are_refused():
    x = torch.zeros(1, 6, 4, 4)
    with pytest.raises(ModelError, match="do not make groups of 6 channels"):
        deform_conv2d(x, *still(1, 4, 4, 4), torch.zeros(6, 6, 3, 3))
    with pytest.raises(ModelError, match="does not fit 6 channels"):
        deform_conv2d(x, *still(1, 2, 4, 4), torch.zeros(6, 4, 3, 3))
    with pytest.raises(ModelError, match="5 deformable groups do not divide 8 channels"):
        DeformableAlign(8, 5, 10.0)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_a_zero_flow_is_the_identity(padding):
    x, flow = torch.randn(2, 3, 7, 9), torch.zeros(2, 7, 9, 2)
    assert (flow_warp(x, flow, padding_mode=padding) - x).abs().max() < 1e-5
    corners = flow_warp(x, flow, "nearest4")
    assert torch.equal(corners, x.repeat(1, 4, 1, 1))


def test_a_whole_flow_shifts_and_nearest4_brackets_a_broken_one():
    x = torch.randn(1, 2, 6, 8)
    flow = torch.zeros(1, 6, 8, 2)
    flow[..., 0], flow[..., 1] = 2.0, -1.0
    out = flow_warp(x, flow)
    assert (out[..., 1:, :-2] - x[..., :-1, 2:]).abs().max() < 1e-5
    assert max(out[..., 0, :].abs().max(), out[..., -2:].abs().max()) < 1e-5
    corners = flow_warp(x, flow + 0.25, "nearest4").view(1, 4, 2, 6, 8)
    shifts = [(2, -1), (2, 0), (3, -1), (3, 0)]  # (floor, floor), (floor x, ceil y), ...
    for corner, (dx, dy) in zip(corners[0], shifts, strict=True):
        for y in range(1, 5):
            assert torch.equal(corner[:, y, 0], x[0, :, y + dy, dx])


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_flow_that_is_not_finite_is_seen_and_its_backward_does_not_crash(padding, bad):
    x = torch.rand(2, 3, 20, 24, requires_grad=True)
    flow = torch.zeros(2, 20, 24, 2)
    flow[0, 5:15, 3:20, 0] = bad
    flow[1, 0, 0, 1] = bad
    out = flow_warp(x, flow.requires_grad_(), padding_mode=padding)
    seen = out.isnan().all(1)
    assert torch.equal(seen, ~flow.isfinite().all(-1)), "before the backward, which would crash"
    out.nansum().backward()
    flow_warp(x, flow, padding_mode=padding).sum().backward()
    assert x.grad.shape == x.shape


def test_coordinates_stay_exact_under_bfloat16():
    x = torch.rand(1, 1, 4, 600)
    flow = torch.full((1, 4, 600, 2), 0.5)
    flow[..., 1] = 0
    wanted = flow_warp(x, flow)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(flow_warp(x, flow), wanted)


def test_every_frame_gets_its_next_and_its_previous_one():
    """A network fresh from its constructor has offsets equal to the flow."""
    torch.manual_seed(0)
    align = DeformableAlign(4, 2, 10.0)
    with torch.no_grad():
        align.weight.zero_()
        # Masks start at one half.
        align.weight[:, :, 1, 1] = 2 * torch.eye(4)
    x = torch.randn(2, 3, 6, 8, 4)
    flow = torch.zeros(2, 2, 2, 6, 8)
    out = align_neighbours(align, x, flow, flow)
    frame, following, previous = out.split(4, dim=-1)
    assert torch.equal(frame, x)
    assert (following[:, :-1] - x[:, 1:]).abs().max() < 1e-5
    assert (previous[:, 1:] - x[:, :-1]).abs().max() < 1e-5
    assert following[:, -1].abs().max() == 0
    assert previous[:, 0].abs().max() == 0


def test_alignment_follows_the_flow_of_its_direction():
    align = DeformableAlign(4, 2, 10.0)
    with torch.no_grad():
        align.weight.zero_()
        align.weight[:, :, 1, 1] = 2 * torch.eye(4)
    x = torch.randn(1, 2, 6, 8, 4)
    backward, forward = torch.zeros(2, 1, 1, 2, 6, 8).unbind(0)
    backward[:, :, 0] = 1.0
    forward[:, :, 1] = 2.0
    _, following, previous = align_neighbours(align, x, backward, forward).split(4, dim=-1)
    assert (following[0, 0, :, :-1] - x[0, 1, :, 1:]).abs().max() < 1e-5
    assert (previous[0, 1, :-2] - x[0, 0, 2:]).abs().max() < 1e-5
