import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vrtspike.engine.tiling import spans, taper, tiles


@given(
    length=st.integers(1, 40).map(lambda n: n * 8),
    size=st.integers(2, 12).map(lambda n: n * 8),
    overlap=st.integers(0, 3).map(lambda n: n * 4),
)
def test_spans_cover_everything_overlap_enough_and_lie_on_the_grid(length, size, overlap):
    found = spans(length, size, min(overlap, size - 8), grid=8)
    assert found[0].start == 0
    assert found[-1].stop == length
    for one, following in itertools.pairwise(found):
        assert one.stop - following.start >= min(overlap, size - 8)
        assert following.start > one.start
    assert all(span.start % 8 == 0 and span.size == min(size, length) for span in found)


def test_too_much_overlap_is_refused():
    with pytest.raises(ValueError, match="overlap of 60 leaves nothing of a tile of 64"):
        spans(128, 64, 60, grid=8)


@given(length=st.integers(20, 90), size=st.integers(8, 32), overlap=st.integers(0, 7))
def test_weights_never_vanish(length, size, overlap):
    total = torch.zeros(length)
    for span in spans(length, size, overlap):
        total[span.start : span.stop] += taper(span, length, min(overlap, span.size))
    assert (total > 0).all()


def test_blending_what_tiles_saw_gives_the_picture_back():
    picture = torch.rand(48, 72, generator=torch.Generator().manual_seed(0))
    total, weight = torch.zeros(48, 72), torch.zeros(48, 72)
    count = 0
    for tile in tiles(48, 72, 32, 8, grid=8):
        rows, columns = tile.rows, tile.columns
        place = (slice(rows.start, rows.stop), slice(columns.start, columns.stop))
        total[place] += picture[place] * tile.weights
        weight[place] += tile.weights
        count += 1
    torch.testing.assert_close(total / weight, picture)
    assert count == 6


def test_tiles_lose_their_weight_towards_neighbours_only():
    first = next(iter(tiles(32, 64, 32, 8)))
    assert first.weights[0, 0] == 1.0
    assert first.weights[16].tolist()[-8:] == pytest.approx([n / 9 for n in range(8, 0, -1)])
