"""Chunk sizes as documented, and that chunks change nothing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vrtspike.model.chunking import chunk_sides, over_chunks
from vrtspike.model.settings import ChunkedAttentionConfig


def chunks(side, config, batch=1):
    h, w = chunk_sides(side, side, batch, config)
    return -(-side // h) * -(-side // w)


def test_the_documented_counts_at_256():
    for adaptive in (False, True):
        usual = ChunkedAttentionConfig(adaptive_chunk=adaptive)
        assert [chunks(s, usual) for s in (256, 128, 64, 32)] == [16, 4, 1, 1]
        larger = ChunkedAttentionConfig(adaptive_chunk=adaptive, chunk_size=96)
        assert [chunks(s, larger) for s in (256, 128, 64, 32)] == [9, 4, 1, 1]


def test_the_token_limit_binds_from_a_batch_of_13():
    config = ChunkedAttentionConfig(adaptive_chunk=True)
    assert chunk_sides(256, 256, 12, config) == (64, 64)
    assert chunk_sides(256, 256, 13, config) == (61, 61)


@pytest.mark.parametrize(("shape", "sides"), [("wide", (51, 80)), ("tall", (80, 51))])
def test_long_chunks(shape, sides):
    config = ChunkedAttentionConfig(adaptive_chunk=True, chunk_shape=shape)
    assert chunk_sides(256, 256, 1, config) == sides


@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    batch=st.integers(1, 40),
    tokens=st.integers(1, 60000),
    size=st.integers(1, 128),
    shape=st.sampled_from(["square", "wide", "tall"]),
)
def test_adaptive_chunks_respect_every_limit(height, width, batch, tokens, size, shape):
    config = ChunkedAttentionConfig(
        adaptive_chunk=True, max_batch_tokens=tokens, chunk_size=size, chunk_shape=shape
    )
    h, w = chunk_sides(height, width, batch, config)
    assert 1 <= h <= height
    assert 1 <= w <= width
    assert h * w <= size**2
    assert batch * h * w <= max(tokens, batch)


def test_chunks_are_joined_where_they_were():
    config = ChunkedAttentionConfig(chunk_size=5)
    x, y = torch.randn(2, 3, 12, 17, 4), torch.randn(2, 3, 12, 17, 4)
    seen = []

    def add(a, b):
        seen.append(a.shape[2:4])
        return a + b

    assert torch.equal(over_chunks(add, (x, y), config), x + y)
    assert len(seen) == 3 * 4
    assert max(max(s) for s in seen) == 5
