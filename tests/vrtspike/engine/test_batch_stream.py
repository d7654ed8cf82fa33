"""Fetching batches: what a dying loading process makes of it."""

import pytest

from vrtspike.engine import batch_stream
from vrtspike.engine.batch_stream import LoadingDiedError


@pytest.mark.parametrize("broken", [EOFError(), ConnectionResetError()])
def test_a_process_that_dies_while_it_hands_a_batch_over_is_one_line(monkeypatch, broken):
    monkeypatch.setattr(batch_stream, "_SIGNAL_DUE_S", 0)

    def dies():
        raise broken
        yield

    with pytest.raises(LoadingDiedError, match="died while it handed over a batch"):
        batch_stream._fetch(dies())
