"""Where a clip is cut and how it is turned: one draw for pictures and spikes together."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vrtspike.data.spike_stream import Window
from vrtspike.errors import DataError

MODEL_GRID = 8
"""The network halves the picture three times: sides must be multiples of 8."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Flips, then quarter turns, of the last two axes."""

    flip_rows: bool = False
    flip_columns: bool = False
    quarters: int = 0

    def apply(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """A turned view of `array`."""
        if self.flip_rows:
            array = array[..., ::-1, :]
        if self.flip_columns:
            array = array[..., ::-1]
        return np.rot90(array, self.quarters, axes=(-2, -1)) if self.quarters else array


@dataclass(frozen=True, slots=True)
class FramePair:
    """Sizes of a picture and its spikes; the picture is `scale` times as large, exactly."""

    height: int
    width: int
    scale: int

    @property
    def spike_size(self) -> tuple[int, int]:
        """Height and width of the spikes."""
        return self.height // self.scale, self.width // self.scale

    def spike_window(self, window: Window) -> Window:
        """The same rectangle on the spike sensor."""
        return Window(
            window.top // self.scale,
            window.left // self.scale,
            window.height // self.scale,
            window.width // self.scale,
        )


def pair_sizes(picture: tuple[int, int], spikes: tuple[int, int], source: object) -> FramePair:
    """Relate a picture's (height, width) to its spikes'.

    Raises:
        DataError: the picture is not a whole number of times as large in both directions.
    """
    scale = picture[0] // max(1, spikes[0])
    if scale < 1 or picture != (spikes[0] * scale, spikes[1] * scale):
        raise DataError(
            f"{source}: the picture is {picture[0]}x{picture[1]} and the spikes are "
            f"{spikes[0]}x{spikes[1]}: the picture must be 1, 2, 3, ... times as large"
        )
    return FramePair(*picture, scale)


def random_window(pair: FramePair, size: int, rng: np.random.Generator) -> Window:
    """A square of `size` pixels that the spike sensor can follow exactly.

    Columns move in steps of 8 sensor pixels where there is room for two such places, since spikes
    are stored eight columns to a byte; rows and narrow pictures in single sensor pixels.
    """
    check_fits(pair, size, "the picture")
    step = 8 * pair.scale
    if pair.width - size < step:
        step = pair.scale
    top = int(rng.integers((pair.height - size) // pair.scale + 1)) * pair.scale
    left = int(rng.integers((pair.width - size) // step + 1)) * step
    return Window(top, left, size, size)


def centre_window(pair: FramePair, size: int | None) -> Window:
    """The square of `size` pixels in the middle, or with None the whole, cut to the model's grid.

    Raises:
        DataError: the picture is smaller than that.
    """
    if size is None:
        grid = math.lcm(MODEL_GRID, pair.scale)
        height, width = pair.height // grid * grid, pair.width // grid * grid
        if not height or not width:
            raise DataError(
                f"a picture of {pair.height}x{pair.width} is smaller than {grid}x{grid}"
            )
        return Window(0, 0, height, width)
    check_fits(pair, size, "the picture")
    top, left = (
        (side - size) // 2 // pair.scale * pair.scale for side in (pair.height, pair.width)
    )
    return Window(top, left, size, size)


def check_fits(pair: FramePair, size: int, source: object) -> None:
    """Raise DataError unless a square of `size` pixels can be cut out, and followed by spikes."""
    if size > pair.height or size > pair.width:
        raise DataError(
            f"{source}: {pair.height}x{pair.width} pixels are less than the crop of {size}: "
            "lower DATA.CROP_SIZE (or DATA.VAL_CROP_SIZE)"
        )
    if size % pair.scale:
        raise DataError(f"{source}: a crop of {size} pixels is no whole number of spike pixels")


def random_turn(rng: np.random.Generator, *, square: bool) -> Turn:
    """A random flip of rows, of columns and, where the crop is square, a quarter turn."""
    rows, columns, quarter = (bool(value) for value in rng.integers(2, size=3))
    return Turn(rows, columns, int(quarter and square))
