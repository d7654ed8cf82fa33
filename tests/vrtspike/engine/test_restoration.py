import numpy as np
import pytest
import torch

from vrtspike.data.settings import DataConfig
from vrtspike.engine.clip_model import ClipRestorer, Clips
from vrtspike.engine.film_spikes import SimulatedSpikes
from vrtspike.engine.restoration import Cutting, FilmRestorer
from vrtspike.errors import ConfigError

DATA = DataConfig(root="x", k=4)


def film(count: int, height: int, width: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def cutting(tile=32, overlap=8, frames=3, shared=1) -> Cutting:
    return Cutting(tile=tile, overlap=overlap, frames=frames, shared_frames=shared)


class Watched:
    """An identity that remembers the shapes it saw."""

    def __init__(self):
        self.shapes = []

    def __call__(self, clips: Clips) -> torch.Tensor:
        vox = None if clips.spike_vox is None else tuple(clips.spike_vox.shape)
        self.shapes.append((tuple(clips.blur.shape), vox))
        return clips.blur


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("shared", [0, 1, 2])
@pytest.mark.parametrize("size", [(40, 56), (33, 71), (8, 9)])
def test_a_model_that_changes_nothing_gives_the_film_back(count, size, shared):
    pictures = film(count, *size)
    model = Watched()
    restorer = FilmRestorer(model, (16, 16), cutting(shared=shared), SimulatedSpikes(DATA))
    restored = list(restorer.restore(pictures, count))
    assert len(restored) == count
    for before, after in zip(pictures, restored, strict=True):
        np.testing.assert_array_equal(before, after)
    for (_, frames, _, height, width), vox in model.shapes:
        assert 2 <= frames <= 3
        assert height <= 32
        assert width <= 32
        assert vox == (1, frames, 4, height // 2, width // 2)


def blurred(clips: Clips) -> torch.Tensor:
    """A 3x3 mean that also looks at the neighbouring frames: tiles see too little at their rims."""
    x = clips.blur.transpose(1, 2)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1, 1, 1), mode="replicate")
    return torch.nn.functional.avg_pool3d(padded, 3, stride=1).transpose(1, 2)


def test_tiles_equal_the_whole_away_from_their_borders():
    pictures = film(3, 48, 80)
    whole = FilmRestorer(blurred, (16, 16), cutting(tile=96), None)
    tiled = FilmRestorer(blurred, (16, 16), cutting(tile=48, overlap=16), None)
    for a, b in zip(whole.restore(pictures, 3), tiled.restore(pictures, 3), strict=True):
        differing = np.unique(np.nonzero((a != b).any(axis=(0, 2)))[0])
        # Tiles are columns 0..48 and 32..80: only pixels that one of them saw at its rim differ.
        assert set(differing) <= {32, 47}


def test_frames_come_as_soon_as_they_are_final_and_few_are_held():
    read = 0

    def source():
        nonlocal read
        for picture in film(12, 16, 16):
            read += 1
            yield picture

    restorer = FilmRestorer(Watched(), (16, 16), cutting(), None)
    for done, _ in enumerate(restorer.restore(source(), 12), start=1):
        assert read - done <= 3


def test_an_overlap_that_leaves_nothing_is_refused():
    with pytest.raises(ConfigError, match="--overlap"):
        FilmRestorer(Watched(), (16, 16), cutting(tile=32, overlap=28), None)


def test_clips_of_any_size_are_widened_to_what_the_model_takes_and_cut_back():
    class Model(torch.nn.Module):
        def forward(self, blur, vox):
            assert blur.shape[-2:] == (48, 56)
            assert vox.shape[-2:] == (24, 28)
            return blur * 2

    blur, vox = torch.rand(1, 2, 3, 46, 50), torch.rand(1, 2, 4, 23, 25)
    restorer = ClipRestorer(Model(), use_spike=True, least=(48, 48))
    assert torch.equal(restorer(Clips(blur, vox)), blur * 2)
