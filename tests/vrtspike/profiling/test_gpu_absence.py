"""Whether there is a GPU is asked in the training process: no answer may stop it."""

import pynvml
import pytest

from vrtspike.profiling.nvml_gpus import gpu_absence


class DyingNvml:
    """Fails from one of its calls on."""

    def __init__(self, dies_at):
        self.dies_at, self.dead = dies_at, False

    def call(self, name):
        self.dead |= name == self.dies_at
        if self.dead:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    def nvmlInit(self):  # noqa: N802
        self.call("init")

    def nvmlDeviceGetCount(self):  # noqa: N802
        self.call("count")
        return 1

    def nvmlShutdown(self):  # noqa: N802
        self.call("shutdown")


@pytest.mark.parametrize(
    ("dies_at", "said"), [("init", True), ("count", True), ("shutdown", False), ("never", False)]
)
def test_a_driver_that_dies_while_it_is_asked_stops_nothing(dies_at, said):
    assert (gpu_absence(DyingNvml(dies_at)) is not None) == said
