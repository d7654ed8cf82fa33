"""Sizes VRT takes and refuses, and how its parts are arranged."""

import pytest
import torch

from vrtspike.errors import ModelError
from vrtspike.model.vrt import VRT

TINY = {
    "window_size": (2, 4, 4),
    "depths": (2,) * 8,
    "indep_reconsts": (),
    "embed_dims": (4,) * 8,
    "num_heads": (2,) * 8,
    "deformable_groups": 2,
}


@pytest.mark.parametrize(
    ("frames", "height", "width"), [(2, 40, 40), (3, 40, 56), (5, 48, 40), (7, 40, 40)]
)
def test_any_legal_clip_keeps_its_shape(frames, height, width):
    torch.manual_seed(0)
    vrt = VRT(**TINY).eval()
    clip = torch.rand(1, frames, 3, height, width)
    with torch.no_grad():
        out = vrt(clip)
    assert out.shape == clip.shape
    assert out.isfinite().all()
    assert not torch.equal(out, clip)


def test_clips_of_a_batch_do_not_mix():
    torch.manual_seed(0)
    vrt = VRT(**TINY).eval()
    clips = torch.rand(2, 3, 3, 40, 48)
    with torch.no_grad():
        together = vrt(clips)
        apart = torch.cat([vrt(clip[None]) for clip in clips])
    assert (together - apart).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("window", "shape", "message"),
    [
        ((2, 4, 4), (1, 1, 3, 64, 64), "at least 2 frames in a clip, got 1"),
        ((2, 4, 4), (1, 2, 3, 60, 64), "height 60: must be divisible by 8 and at least 40"),
        ((2, 4, 4), (1, 2, 3, 64, 68), "width 68: must be divisible by 8"),
        ((2, 4, 4), (1, 2, 3, 32, 64), "height 32: must be divisible by 8 and at least 40"),
        ((2, 8, 8), (1, 2, 3, 64, 56), r"width 56: .* at least 64 \(window 8"),
        ((2, 4, 4), (1, 2, 4, 64, 64), r"\(batch, frames, 3, height, width\), got \(1, 2, 4"),
        ((2, 4, 4), (2, 3, 64, 64), r"got \(2, 3, 64, 64\)"),
    ],
)
def test_clips_beyond_the_limits_are_refused(window, shape, message):
    vrt = VRT(**{**TINY, "window_size": window})
    with pytest.raises(ModelError, match=message):
        vrt(torch.rand(shape))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"upscale": 4}, "upscale 1 only, got 4"),
        ({"pa_frames": 4}, "pa_frames 2 only, got 4"),
        ({"depths": (2,) * 7}, "depths needs 7 positive stage depths"),
        ({"embed_dims": (4,) * 9}, "embed_dims has 9 entries, depths has 8"),
        ({"num_heads": (2,) * 7}, "num_heads has 7 entries, depths has 8"),
        ({"num_heads": (3,) * 8}, r"num_heads\[0\] = 3 does not divide embed_dims\[0\] = 4"),
        ({"deformable_groups": 3}, "deformable_groups 3 does not divide"),
        (
            {"embed_dims": (4, 8, 4, 4, 4, 4, 4, 4)},
            r"embed_dims\[5\] = 4 must equal embed_dims\[1\]",
        ),
        ({"window_size": (2, 4)}, "window_size needs 3 positive values"),
        ({"attn_type": "flash"}, "VRT has no argument attn_type"),
        ({"attention": "flash"}, "auto, explicit or fused, got 'flash'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ModelError, match=message):
        VRT(**{**TINY, **change})


def test_a_depth_of_two_is_one_mutual_and_one_self_block():
    vrt = VRT(**TINY)
    for number in range(1, 8):
        stage = vrt.get_submodule(f"stage{number}")
        assert len(stage.residual_group1.blocks) == 1
        assert stage.residual_group1.blocks[0].attn.qkv_mut is not None
        assert len(stage.residual_group2.blocks) == 1
        assert stage.residual_group2.blocks[0].attn.qkv_mut is None


@pytest.mark.parametrize(("depth", "mutual"), [(8, 6), (7, 5), (6, 4), (4, 3)])
def test_three_quarters_of_a_stage_are_mutual(depth, mutual):
    vrt = VRT(**{**TINY, "depths": (depth,) + (1,) * 7})
    assert len(vrt.stage1.residual_group1.blocks) == mutual
    assert len(vrt.stage1.residual_group2.blocks) == depth - mutual


def test_drop_path_rates_rise_over_all_blocks_and_restart_in_the_second_group():
    vrt = VRT(**{**TINY, "depths": (4, 2, 2, 2, 2, 2, 2, 4), "drop_path_rate": 0.19})
    rates = [0.01 * i for i in range(20)]
    stage = vrt.stage1
    first = [b.drop_path.rate for b in stage.residual_group1.blocks]
    second = [b.drop_path.rate for b in stage.residual_group2.blocks]
    assert first == pytest.approx(rates[:3])
    assert second == pytest.approx(rates[:1])
    last = [b.drop_path.rate for b in vrt.stage8[1].residual_group.blocks]
    assert last == pytest.approx(rates[16:])


def test_window_of_one_frame_in_the_named_groups_of_stage_8():
    vrt = VRT(
        **{
            **TINY,
            "depths": (1,) * 9,
            "embed_dims": (4,) * 9,
            "num_heads": (2,) * 9,
            "indep_reconsts": (8,),
        }
    )
    windows = [group.residual_group.blocks[0].spec.window for group in vrt.stage8[1:]]
    assert windows == [(2, 4, 4), (1, 4, 4)]
