"""Ids are found where they first stand, by a loop, by a search and in chunks alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnostics.analyses import trace_launches
from diagnostics.analyses.trace_launches import places, places_in_rows

IDS = st.lists(st.integers(-2, 6), max_size=30)


def by_a_loop(ids: list[int], wanted: list[int]) -> list[int]:
    return [ids.index(each) if each >= 0 and each in ids else -1 for each in wanted]


@given(ids=IDS, wanted=IDS, chunk=st.integers(1, 9))
def test_an_id_is_found_where_it_first_stands(
    ids: list[int], wanted: list[int], chunk: int
) -> None:
    held, asked = np.array(ids, np.int64), np.array(wanted, np.int64)
    rows = np.zeros(len(ids), [("op_id", "i8")])
    rows["op_id"] = held
    assert places(held, asked).tolist() == by_a_loop(ids, wanted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace_launches, "CHUNK_ROWS", chunk)
        assert places_in_rows(rows, "op_id", asked).tolist() == by_a_loop(ids, wanted)
