"""Frames between two real frames, by classical optical flow (no network, no weights)."""

from collections.abc import Iterator

import cv2
import numpy as np

from vrtspike.data.spike_stream import ByteArray, FloatArray

_TRUST_PIXELS = 1.0  # a forward-backward error of this size weighs exp(-1)
_WEIGHT_FLOOR = 1e-3  # where neither side can be trusted the plain blend remains


class SubframeInterpolator:
    """DIS flow in both directions, consistency weights, bilinear warps; frames are uint8 RGB."""

    def __init__(self, height: int, width: int) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        columns, rows = np.meshgrid(np.arange(width), np.arange(height))
        self._grid: FloatArray = np.stack([columns, rows], axis=2).astype(np.float32)

    def between(self, first: ByteArray, second: ByteArray, count: int) -> Iterator[ByteArray]:
        """Yield `count` frames at times 0, 1/count, ...: the first is `first` itself, untouched.

        Flow from an in-between time to both ends is the usual combination of the two flows
        measured at the ends, assuming straight motion at constant speed.
        """
        yield first
        forward = self._flow(first, second)
        backward = self._flow(second, first)
        trust_first = self._trust(forward, backward)
        trust_second = self._trust(backward, forward)
        for step in range(1, count):
            time = np.float32(step / count)
            rest = np.float32(1.0) - time
            to_first = time * (time * backward - rest * forward)
            to_second = rest * (rest * forward - time * backward)
            from_first = rest * (self._warp(trust_first, to_first) + _WEIGHT_FLOOR)[..., None]
            from_second = time * (self._warp(trust_second, to_second) + _WEIGHT_FLOOR)[..., None]
            blend = from_first * self._warp(first.astype(np.float32), to_first)
            blend += from_second * self._warp(second.astype(np.float32), to_second)
            blend /= from_first + from_second
            yield np.clip(np.rint(blend), 0, 255).astype(np.uint8)

    def _flow(self, source: ByteArray, target: ByteArray) -> FloatArray:
        gray = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (source, target))
        flow: FloatArray = np.asarray(self._dis.calc(*gray, None), np.float32)  # type: ignore[call-overload]
        return flow

    def _warp(self, image: FloatArray, displacement: FloatArray) -> FloatArray:
        warped = cv2.remap(
            image,
            self._grid + displacement,
            None,  # type: ignore[call-overload]
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        out: FloatArray = np.asarray(warped, np.float32)
        return out

    def _trust(self, there: FloatArray, back: FloatArray) -> FloatArray:
        """1 where going there and back ends at the start, falling with the square of the error."""
        error = there + self._warp(back, there)
        trust: FloatArray = np.exp(-(error**2).sum(axis=2) / np.float32(_TRUST_PIXELS**2))
        return trust
