"""Read one picture or one voxel file, with errors that name it."""

import tokenize
import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vrtspike.data.file_errors import cannot_read, plain_size, whole_file
from vrtspike.data.reads import reading
from vrtspike.data.spike_stream import ByteArray
from vrtspike.errors import DataError

MAX_PICTURE_PIXELS = 1 << 26  # 8192 x 8192: more is no video frame, and would eat the memory
MAX_PICTURE_BYTES = 1 << 29
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LEAST_PNG_BYTES = 57
"""Signature, header, and one empty chunk of each of the two other kinds that a PNG must have."""
_MAX_CHUNK_BYTES = (1 << 31) - 1
"""As the format allows."""
_NO_VOXELS = (
    *(ValueError, TypeError, EOFError, SyntaxError, OverflowError, RecursionError, MemoryError),
    tokenize.TokenError,
)
"""What NumPy raises for headers that are none, or that claim sizes beyond all memory."""
_CURE = "put a whole copy in its place, or delete it: its frame is then left out"
_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
# Of a picture that cannot be decoded the one line here tells.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_rgb(path: Path) -> ByteArray:
    """A picture as RGB uint8 (height, width, 3).

    Raises:
        DataError: missing, not a picture, cut short or too large.
    """
    return decode_rgb(read_picture(path), path)


def read_picture(path: Path) -> ByteArray:
    """The bytes of a picture's file, whose size in pixels is sensible.

    Raises:
        DataError: missing, not a picture or too large.
    """
    with reading(path):
        picture_size(path)
        try:
            return whole_file(path)
        except OSError as error:
            raise cannot_read(path, "picture", error) from error


def decode_rgb(data: ByteArray, path: Path) -> ByteArray:
    """The picture in the bytes of a file as RGB uint8 (height, width, 3).

    Raises:
        DataError: not a picture, or cut short; the line names `path`.
    """
    _check_png(data, path)
    _check_jpeg(data, path)
    picture = _decoded(data, cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise _no_picture(path, len(data))
    return np.asarray(picture, np.uint8)


def _no_picture(path: Path, num_bytes: int) -> DataError:
    if not num_bytes:
        return DataError(f"{path}: the picture is empty (0 bytes): {_CURE}")
    return DataError(
        f"{path}: not a picture that can be decoded, or cut short, at {num_bytes} bytes: {_CURE}"
    )


def _cut_short(path: Path, num_bytes: int, least: int) -> DataError:
    return DataError(
        f"{path}: the picture is cut short after {num_bytes} of at least {least} bytes: {_CURE}"
    )


def _decoded(data: ByteArray, flags: int) -> NDArray[np.generic] | None:
    """The picture as it lies in memory; None where OpenCV makes nothing of it."""
    try:
        return cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION) if len(data) else None
    except cv2.error:
        return None


def _check_png(data: ByteArray, path: Path) -> None:
    """Walk the chunks of a PNG and compare their checksums; other formats pass.

    The decoder would print its own complaint, and may return a half-gray picture without one.
    """
    view = data.data
    if bytes(view[:8]) != _PNG_SIGNATURE:
        return
    at, kind = 8, b""
    while kind != b"IEND":
        length = int.from_bytes(view[at : at + 4], "big")
        end = at + 12 + length
        kind = bytes(view[at + 4 : at + 8])
        if length > _MAX_CHUNK_BYTES and at + 8 <= len(view):
            raise DataError(f"{path}: the picture is damaged near byte {at}: {_CURE}")
        if end > len(view):
            least = end if kind == b"IEND" else end + 12
            raise _cut_short(path, len(view), at + 12 if at + 8 > len(view) else least)
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise DataError(
                f"{path}: the picture is damaged near byte {at} (wrong checksum): {_CURE}"
            )
        at = end


def _check_jpeg(data: ByteArray, path: Path) -> None:
    """A JPEG's last scan has an end; OpenCV 4 makes a gray rest of what is missing."""
    if bytes(data[:3].data) != _JPEG_START:
        return
    whole = data.tobytes()  # within a scan neither mark can stand
    if whole.rfind(_JPEG_END) <= whole.rfind(_JPEG_SCAN):
        raise _cut_short(path, len(whole), len(whole) + len(_JPEG_END))


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header of a PNG; other formats are decoded for it.

    Raises:
        DataError: missing, not a picture or too large.
    """
    try:
        size = plain_size(path)
        if size > MAX_PICTURE_BYTES:
            raise DataError(f"{path}: {size} bytes are more than a picture of a video can be")
        with path.open("rb") as file:
            head = file.read(24)
    except OSError as error:
        raise cannot_read(path, "picture", error) from error
    if head.startswith(_PNG_SIGNATURE):
        if len(head) < 24:
            raise _cut_short(path, len(head), _LEAST_PNG_BYTES)
        width, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
    else:
        height, width = _decoded_size(path)
    if not 0 < height * width <= MAX_PICTURE_PIXELS:
        raise DataError(f"{path}: {height}x{width} is not the size of a video frame")
    return height, width


def _decoded_size(path: Path) -> tuple[int, int]:
    try:
        data = whole_file(path)  # OpenCV ends the process at a name that is no UTF-8
    except OSError as error:
        raise cannot_read(path, "picture", error) from error
    picture = _decoded(data, cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise _no_picture(path, len(data))
    return int(picture.shape[0]), int(picture.shape[1])


def open_voxels(path: Path) -> NDArray[np.generic]:
    """A voxel file (bins, height, width) of numbers, mapped: only what is used is read.

    Raises:
        DataError: missing, cut short, pickled or of another shape.
    """
    try:
        with reading(path):
            size = plain_size(path)
            with np.errstate(over="ignore"):  # of what a header claims
                voxels = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise cannot_read(path, "voxels", error) from error
    except _NO_VOXELS as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: cannot read the voxels: {reason}; the file has {size} bytes: {_CURE}"
        ) from error
    if not isinstance(voxels, np.ndarray) or voxels.ndim != 3 or voxels.dtype.kind not in "fui":
        raise DataError(f"{path}: voxels must be one array (bins, height, width) of numbers")
    return voxels
