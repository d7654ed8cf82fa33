"""The flow network's shapes and conventions."""

import torch

from vrtspike.model.optical_flow import SpyNet


def silent_spynet(constant=(0.0, 0.0)):
    """Every level adds the same correction everywhere."""
    net = SpyNet()
    for level in net.basic_module:
        for parameter in level.parameters():
            torch.nn.init.zeros_(parameter)
        level.basic_module[-1].bias.data = torch.tensor(constant)
    return net


def test_eight_flows_finest_first_for_sizes_that_are_no_multiple_of_32():
    flows = silent_spynet()(torch.rand(2, 3, 3, 40, 72))
    wanted = [(2, 2, 2, 40 // s, 72 // s) for s in (1, 2, 4, 8)]
    assert [tuple(f.shape) for f in flows] == wanted * 2


def test_each_level_doubles_what_the_coarser_ones_found():
    flows = silent_spynet((1.0, -0.5))(torch.rand(1, 2, 3, 64, 96))
    # 1 + 2 + 4 + ... over six levels at full resolution, half as many pixels at half.
    for flow, total in zip(flows, (63, 31, 15, 7, 63, 31, 15, 7), strict=True):
        assert torch.allclose(flow[:, :, 0], torch.tensor(1.0 * total))
        assert torch.allclose(flow[:, :, 1], torch.tensor(-0.5 * total))


def test_resizing_scales_the_flow_with_the_image():
    flows = silent_spynet((1.0, 1.0))(torch.rand(1, 2, 3, 40, 64))
    assert torch.allclose(flows[0][:, :, 0], torch.tensor(63.0))
    assert torch.allclose(flows[0][:, :, 1], torch.tensor(63.0 * 40 / 64))


def test_directions_look_at_each_other():
    torch.manual_seed(0)
    net = SpyNet()
    clip = torch.rand(1, 2, 3, 64, 64)
    there = net(clip)
    back = net(clip.flip(1))
    for i in range(4):
        assert torch.allclose(there[i], back[i + 4], atol=1e-5)


def test_float32_under_autocast():
    torch.manual_seed(0)
    net = SpyNet()
    clip = torch.rand(1, 2, 3, 64, 64)
    with torch.no_grad():
        wanted = net(clip)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            flows = net(clip)
    assert all(torch.equal(a, b) for a, b in zip(flows, wanted, strict=True))


def test_a_nan_weight_shows_in_every_finer_flow_and_the_backward_survives():
    net = silent_spynet()
    with torch.no_grad():
        net.basic_module[1].basic_module[-1].bias.fill_(float("nan"))
    frames = torch.rand(1, 2, 3, 40, 40, requires_grad=True)
    flows = net(frames)
    assert all(flow.isnan().all() for flow in flows)
    sum(flow.sum() for flow in flows).backward()
