"""Checks of the data contract: do these spikes belong to these pictures, and are they read right?

A wrongly read spike file trains without an error, on noise. So before a run every file's size is
checked, and one frame of every clip in depth: number of ticks (8 per averaged frame), bit-packed
rather than byte per spike, firing rates that the threshold allows, and whether the picture made
from the spikes shows the sharp frame, the right way up.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vrtspike.data.file_errors import cannot_read, plain_size
from vrtspike.data.frames import read_rgb
from vrtspike.data.layouts import TICKS_PER_FRAME, Clip, Frame
from vrtspike.data.loading_faults import LoadingFaultError
from vrtspike.data.spike_config import SpikeConfig
from vrtspike.data.spike_stream import (
    FloatArray,
    SpikeStream,
    bin_counts,
    read_dat,
    tfp,
    tick_bytes,
)
from vrtspike.errors import DataError

MIN_CORRELATION = 0.5
"""TFP against the sharp picture: 0.97 on a real GoPro+Spike frame, 0.15 upside down."""
CLEARLY_BETTER = 0.02
"""Another reading must beat ours by this: least- against most-significant-bit-first is 0.05."""
MIN_CONTRAST = 0.05
"""Standard deviation of the sharp picture (0..1) below which nothing is compared: 32 ticks leave a
rounding noise of about 0.025, so that fainter scenes correlate badly even when read right."""
MAX_IMPOSSIBLE_SHARE = 0.001
"""Share of pixels that may fire more often than theta allows (hot pixels of a real sensor)."""
_TFP_HALF_TICKS = 16


@dataclass(frozen=True, kw_only=True)
class FrameFacts:
    """What one spike file was found to be.

    `mean_rate` is spikes per tick and pixel; `max_count` the most spikes of any pixel, against the
    `allowed_count` of an integrate-and-fire pixel in white light. `correlation` and
    `brightness_ratio` compare TFP with the sharp picture; None where there was nothing to compare.
    """

    path: Path
    ticks: int
    expected_ticks: int | None
    mean_rate: float
    max_count: int
    allowed_count: int
    impossible_share: float
    correlation: float | None
    brightness_ratio: float | None


@dataclass(frozen=True, kw_only=True)
class ContractFacts:
    """What a split was found to be: files whose size was checked, and frames checked in depth."""

    files: int
    frames: tuple[FrameFacts, ...]

    @property
    def lowest_correlation(self) -> float | None:
        """The worst agreement of spikes and sharp picture; None if none could be compared."""
        values = [f.correlation for f in self.frames if f.correlation is not None]
        return min(values, default=None)

    def line(self) -> str:
        """One line for a log."""
        lowest = self.lowest_correlation
        shown = "not comparable" if lowest is None else f"at least {lowest:.2f}"
        ticks = sorted({f.ticks for f in self.frames})
        return (
            f"data contract: {self.files} spike files have whole ticks, {len(self.frames)} checked "
            f"in depth (ticks {', '.join(map(str, ticks))}; correlation with sharp {shown})"
        )


def check_clips(clips: Iterable[Clip], damaged: dict[Path, str] | None = None) -> ContractFacts:
    """Check every spike file's size, and the middle frame of every clip in depth.

    Args:
        clips: The clips.
        damaged: Takes the files that cannot be read or have a wrong size, with the reason; without
            it the first of them is an error.

    Raises:
        DataError: naming the first file that breaks the contract, and how.
    """
    files, facts = 0, []
    for clip in clips:
        frames = [frame for frame in clip.frames if frame.spikes is not None]
        if not frames:
            continue
        sensor = sensor_of(clip)
        whole = [frame for frame in frames if _is_whole(frame, clip, sensor, damaged)]
        files += len(frames)
        if whole:
            middle = whole[len(whole) // 2 :] + whole[: len(whole) // 2]
            facts += _first_checked(clip, middle, damaged)
    return ContractFacts(files=files, frames=tuple(facts))


def _is_whole(
    frame: Frame, clip: Clip, sensor: SpikeConfig, damaged: dict[Path, str] | None
) -> bool:
    try:
        _check_size(frame, clip, sensor)
    except LoadingFaultError:
        raise
    except DataError as error:
        if damaged is None or frame.spikes is None:
            raise
        damaged[frame.spikes] = str(error)
        return False
    return True


def _first_checked(
    clip: Clip, frames: Sequence[Frame], damaged: dict[Path, str] | None
) -> list[FrameFacts]:
    """The first frame in depth; where damage is no error, the first that can be read at all."""
    for frame in frames:
        if damaged is None or _can_be_read(frame, clip):
            return [check_frame(clip, frame)]
    return []


def _can_be_read(frame: Frame, clip: Clip) -> bool:
    sensor, path = sensor_of(clip), frame.spikes
    try:
        if path is not None:
            read_dat(path, sensor.spike_h, sensor.spike_w, byte_padded=sensor.byte_padded)
        if frame.sharp is not None:
            read_rgb(frame.sharp)
    except LoadingFaultError:
        raise
    except DataError:
        return False
    return True


def sensor_of(clip: Clip) -> SpikeConfig:
    """The clip's sensor; raises DataError where nothing says how large it is."""
    if clip.sensor is None:
        raise DataError(
            f"{clip.folder}: the size of the spike pictures is unknown; put a config.yaml with "
            "spike_h and spike_w into the folder of the spikes or above it"
        )
    return clip.sensor


def check_frame(clip: Clip, frame: Frame) -> FrameFacts:
    """Check one frame in depth.

    Raises:
        DataError: naming the spike file and what is wrong with it.
    """
    sensor, path = sensor_of(clip), frame.spikes
    if path is None:
        raise DataError(f"{clip.folder}: frame {frame.number} has no spike file")
    _check_size(frame, clip, sensor)
    stream = read_dat(path, sensor.spike_h, sensor.spike_w, byte_padded=sensor.byte_padded)
    _check_packed(stream, path)
    counts = bin_counts(stream, np.array([0, stream.ticks]))[0]
    allowed = math.ceil(stream.ticks / sensor.theta)
    impossible = float((counts > allowed).mean())
    if impossible > MAX_IMPOSSIBLE_SHARE:
        raise DataError(
            f"{path}: {impossible:.1%} of the pixels fire more than {allowed} times in "
            f"{stream.ticks} ticks, which theta {sensor.theta:g} does not allow: theta in "
            "config.yaml is wrong, or these bytes are not bit-packed spikes"
        )
    sharp = None if frame.sharp is None else _small_gray(frame.sharp, sensor)
    correlation, ratio = _compare(stream, sensor.theta, sharp, path)
    return FrameFacts(
        path=path,
        ticks=stream.ticks,
        expected_ticks=clip.expected_ticks,
        mean_rate=float(counts.mean()) / stream.ticks,
        max_count=int(counts.max()),
        allowed_count=allowed,
        impossible_share=impossible,
        correlation=correlation,
        brightness_ratio=ratio,
    )


def _check_size(frame: Frame, clip: Clip, sensor: SpikeConfig) -> None:
    """Whole ticks, and as many as the clip averages; the last file of a clip may end early."""
    path = frame.spikes
    if path is None:
        return
    try:
        size = plain_size(path)
    except OSError as error:
        raise cannot_read(path, "spike file", error) from error
    per_tick = tick_bytes(sensor.spike_h, sensor.spike_w)
    shape = f"{sensor.spike_h}x{sensor.spike_w}"
    expected = clip.expected_ticks
    if expected is None:
        if size == 0 or size % per_tick:
            raise DataError(
                f"{path}: {size} bytes are not a whole number of {shape} ticks "
                f"({per_tick} bytes each): cut short, or spike_h and spike_w are wrong"
            )
        return
    early = expected - TICKS_PER_FRAME + 1  # nothing follows the last frame of a recording
    allowed = {expected, early} if frame is clip.frames[-1] else {expected}
    if size not in {per_tick * ticks for ticks in allowed}:
        raise DataError(
            f"{path}: {size} bytes are {size / per_tick:.2f} ticks of {shape} spikes, expected "
            f"{expected} ({TICKS_PER_FRAME} for each averaged frame): cut short, or spike_h, "
            "spike_w or ticks_per_frame in config.yaml is wrong"
        )


def _check_packed(stream: SpikeStream, path: Path) -> None:
    if int(stream.packed.max()) == 1:
        raise DataError(
            f"{path}: every byte is 0 or 1, so this file holds one byte per spike; pack it to one "
            "bit per spike (vrtspike.data.spike_stream.encode and write_dat)"
        )


def _small_gray(path: Path, sensor: SpikeConfig) -> FloatArray:
    """The picture as the spike camera would see it: gray, its size, 0..1."""
    gray = cv2.cvtColor(read_rgb(path), cv2.COLOR_RGB2GRAY)
    size = (sensor.spike_w, sensor.spike_h)
    small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255.0)


def _compare(
    stream: SpikeStream, theta: float, sharp: FloatArray | None, path: Path
) -> tuple[float | None, float | None]:
    """Correlation and brightness of TFP around the sharp moment against the sharp picture."""
    if sharp is None or float(sharp.std()) < MIN_CONTRAST:
        return None, None
    middle = TICKS_PER_FRAME * (-(-stream.ticks // TICKS_PER_FRAME) // 2)
    first = max(0, middle - _TFP_HALF_TICKS)
    stop = min(stream.ticks, middle + _TFP_HALF_TICKS)
    image = tfp(stream, theta=theta, first=first, stop=stop)
    swapped = np.packbits(np.unpackbits(stream.packed, axis=1, bitorder="little"), axis=1)
    other = tfp(SpikeStream(swapped, stream.height, stream.width), first=first, stop=stop)
    found = _correlation(image, sharp)
    wrong = {
        "its rows are stored top-down (ours are bottom-up): the picture is upside down": image[
            ::-1
        ],
        "its bits are stored most significant first (ours least significant first)": other,
        "its rows are top-down and its bits most significant first": other[::-1],
    }
    scores = {mistake: _correlation(picture, sharp) for mistake, picture in wrong.items()}
    best = max(scores, key=lambda mistake: scores[mistake])
    if scores[best] >= max(MIN_CORRELATION, found + CLEARLY_BETTER):
        raise DataError(
            f"{path}: {best}; correlation with the sharp picture {scores[best]:.2f}, "
            f"as stored {found:.2f}"
        )
    if found < MIN_CORRELATION:
        raise DataError(
            f"{path}: the spikes do not show the sharp picture (correlation {found:.2f}, expected "
            f"above {MIN_CORRELATION}): another frame's file, or spike_h and spike_w are swapped"
        )
    return found, float(image.mean() / sharp.mean())


def _correlation(first: FloatArray, second: FloatArray) -> float:
    """Pearson correlation; 0 where one picture is constant."""
    a, b = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0
