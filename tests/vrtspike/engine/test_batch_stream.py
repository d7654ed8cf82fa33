"""Fetching batches: what a dying loading process makes of it."""

import errno

import pytest

from vrtspike.data.loading_faults import LoadingDiedError, SystemLimitError
from vrtspike.engine import batch_stream


def failing(error):
    raise error
    yield


@pytest.mark.parametrize("broken", [EOFError(), ConnectionResetError()])
def test_a_process_that_dies_while_it_hands_a_batch_over_is_one_line(broken):
    with pytest.raises(LoadingDiedError, match="died while it handed over a batch"):
        batch_stream._fetch(failing(broken))


def test_a_limit_of_the_system_is_no_death_and_another_error_stays_itself():
    with pytest.raises(SystemLimitError, match="ulimit -n"):
        batch_stream._fetch(failing(OSError(errno.EMFILE, "Too many open files")))
    with pytest.raises(RuntimeError, match="a bug"):
        batch_stream._fetch(failing(RuntimeError("a bug")))
