"""Settings that only a mistake explains."""

import pytest

from vrtspike.engine.settings import TrainConfig


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), 1e300, 2_592_001.0])
def test_a_wait_for_other_ranks_is_positive_and_ends(seconds: float) -> None:
    with pytest.raises(ValueError, match="collective_timeout_s: must be"):
        TrainConfig(epochs=1, collective_timeout_s=seconds)
