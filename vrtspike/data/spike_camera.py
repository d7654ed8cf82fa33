"""A simulated spike camera: integrate and fire, with its state kept from exposure to exposure.

Per pixel and tick the light is added to an accumulator; where it reaches theta the pixel fires and
theta is subtracted. The first accumulator is random in [0, theta), so that equal pixels do not
fire together. This is how GoPro+Spike was made (light = gray / 255 in the display domain, theta 2).
"""

import numpy as np
from numpy.typing import NDArray

from vrtspike.data.spike_stream import DEFAULT_THETA, ByteArray
from vrtspike.errors import DataError


class SpikeCamera:
    """One simulated sensor; `accumulator` (height, width) is in units of one tick of white."""

    def __init__(
        self, height: int, width: int, *, theta: float = DEFAULT_THETA, seed: int = 0
    ) -> None:
        """Start with a random phase drawn from `seed`.

        Raises:
            DataError: theta below 1, where white light would have to fire twice in one tick.
        """
        if theta < 1.0:
            raise DataError(f"theta must be at least 1 (one spike a tick for white), got {theta}")
        self.theta = theta
        phase = np.random.default_rng(seed).random((height, width))
        self.accumulator: NDArray[np.float64] = phase * theta

    def expose(self, light: NDArray[np.floating]) -> ByteArray:
        """Integrate light (ticks, height, width), 1.0 = white; returns the spikes, same shape.

        The accumulator is kept: exposing two halves equals exposing the whole.

        Raises:
            DataError: the picture has another size than the sensor, or light outside 0..1.
        """
        if light.shape[1:] != self.accumulator.shape:
            raise DataError(f"light {light.shape[1:]} on a sensor of {self.accumulator.shape}")
        if light.size and not (light.min() >= 0.0 and light.max() <= 1.0):
            raise DataError("light must lie between 0 and 1")
        spikes = np.empty(light.shape, np.uint8)
        for tick, picture in enumerate(light):
            self.accumulator += picture
            fired = self.accumulator >= self.theta
            self.accumulator -= self.theta * fired
            spikes[tick] = fired
        return spikes
