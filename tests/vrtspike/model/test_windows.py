"""Cutting into windows and back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vrtspike.model import windows
from vrtspike.model.windows import effective_window, to_tokens, to_windows, window_plan

CPU = torch.device("cpu")
sizes = st.tuples(st.integers(1, 7), st.integers(1, 11), st.integers(1, 11))
shapes = st.tuples(st.integers(1, 3), sizes)
window_sizes = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))


@settings(max_examples=60, deadline=None)
@given(shape=shapes, window=window_sizes, shifted=st.booleans())
def test_round_trip_is_the_identity(shape, window, shifted):
    batch, size = shape
    x = torch.randn(batch, *size, 3)
    plan = window_plan(x.shape, window, shifted, CPU)
    assert torch.equal(to_tokens(to_windows(x, plan), plan, x.shape), x)


@settings(max_examples=30, deadline=None)
@given(shape=shapes, window=window_sizes, shifted=st.booleans())
def test_slots_hold_each_token_once_and_zeros_elsewhere(shape, window, shifted):
    batch, size = shape
    x = torch.arange(1.0, batch * size[0] * size[1] * size[2] + 1).view(batch, *size, 1)
    plan = window_plan(x.shape, window, shifted, CPU)
    slots = to_windows(x, plan).flatten()
    effective, _ = effective_window(size, window)
    assert len(slots) % (batch * plan.tokens_per_window) == 0
    assert plan.tokens_per_window == effective[0] * effective[1] * effective[2]
    assert torch.equal(slots[slots > 0].sort().values, x.flatten())


def slow_windows(x, window, shift):
    """Pad, roll and cut with loops."""
    b, d, h, w, _ = x.shape
    pads = [-s % o for s, o in zip((d, h, w), window, strict=True)]
    x = torch.nn.functional.pad(x, (0, 0, 0, pads[2], 0, pads[1], 0, pads[0]))
    x = x.roll([-s for s in shift], dims=(1, 2, 3))
    out = {}
    for i in range(0, x.shape[1], window[0]):
        for j in range(0, x.shape[2], window[1]):
            for k in range(0, x.shape[3], window[2]):
                cut = x[:, i : i + window[0], j : j + window[1], k : k + window[2]]
                for n in range(b):
                    out[(i, j, k, n)] = cut[n].flatten(0, 2)
    return out


@pytest.mark.parametrize("shifted", [False, True])
def test_windows_hold_what_padding_rolling_and_cutting_gives(shifted):
    window, size = (2, 4, 3), (5, 10, 13)
    x = torch.randn(2, *size, 2)
    _, shift = effective_window(size, window)
    reference = slow_windows(x, window, shift if shifted else (0, 0, 0))
    plan = window_plan(x.shape, window, shifted, CPU)
    ours = to_windows(x, plan).view(-1, 2, plan.tokens_per_window, 2)
    found = {tuple(w.flatten().tolist()) for pair in ours for w in pair}
    assert found == {tuple(w.flatten().tolist()) for w in reference.values()}
    assert ours.shape[0] * 2 == len(reference)
    for pair in ours:  # both clips of the batch at the same place, clip by clip
        keys = [
            key
            for n in (0, 1)
            for key, w in reference.items()
            if key[3] == n and torch.equal(w, pair[n])
        ]
        assert keys[0][:3] == keys[1][:3]


def test_groups_cover_all_windows_and_masks_match_the_whole_set():
    size, window = (6, 12, 16), (2, 4, 4)
    plan = window_plan((1, *size), window, True, CPU)
    assert len(plan.groups) == 8  # touching the end or not, in three dimensions
    assert plan.groups[0].mask is None
    total = sum(group.windows for group in plan.groups)
    assert total == 3 * 3 * 4
    every = torch.from_numpy(windows.region_masks(size, window, (1, 2, 2)))
    expanded = [
        torch.zeros(g.windows, 32, 32) if g.mask is None else g.mask.expand(g.windows, 32, 32)
        for g in plan.groups
    ]
    ours = sorted(m.flatten().tolist() for m in torch.cat(expanded))
    assert ours == sorted(m.flatten().tolist() for m in every)


def test_gradient_goes_back_to_the_token_it_came_from():
    x = torch.randn(2, 3, 5, 7, 2, dtype=torch.float64, requires_grad=True)
    plan = window_plan(x.shape, (2, 4, 4), True, CPU)
    weights = torch.randn(to_windows(x, plan).shape, dtype=torch.float64)
    (to_windows(x, plan) * weights).sum().backward()
    assert torch.equal(x.grad, to_tokens(weights, plan, x.shape))
    assert torch.autograd.gradcheck(
        lambda v: to_tokens(to_windows(v, plan) ** 2, plan, v.shape), (x,)
    )


def test_plans_are_kept_but_not_without_limit():
    first = window_plan((1, 2, 8, 8), (2, 4, 4), True, CPU)
    assert window_plan((1, 2, 8, 8), (2, 4, 4), True, CPU) is first
    for side in range(8, 8 + 2 * windows._CACHED_PLANS):
        window_plan((1, 2, side, 8), (2, 4, 4), False, CPU)
    assert windows._plan.cache_info().currsize <= windows._CACHED_PLANS


def test_a_plan_made_in_inference_mode_serves_training():
    shape = (1, 2, 9, 9, 4)
    windows._plan.cache_clear()
    with torch.inference_mode():
        window_plan(shape, (2, 4, 4), True, CPU)
    x = torch.randn(shape, requires_grad=True)
    plan = window_plan(shape, (2, 4, 4), True, CPU)
    to_tokens(to_windows(x, plan), plan, shape).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))
