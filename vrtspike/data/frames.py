"""Read one picture or one voxel file, with errors that name it."""

import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vrtspike.data.file_errors import cannot_read, whole_file
from vrtspike.data.reads import reading
from vrtspike.data.spike_stream import ByteArray
from vrtspike.errors import DataError

MAX_PICTURE_PIXELS = 1 << 26  # 8192 x 8192: more is no video frame, and would eat the memory
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


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
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(data, flags)
    except cv2.error:
        picture = None
    if picture is None:
        raise DataError(f"{path}: not a picture that can be decoded, or cut short")
    return np.asarray(picture, np.uint8)


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
        if end > len(view):
            raise DataError(f"{path}: the picture is cut short after {len(view)} bytes")
        kind = bytes(view[at + 4 : at + 8])
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise DataError(f"{path}: the picture is damaged near byte {at} (wrong checksum)")
        at = end


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header of a PNG; other formats are decoded for it.

    Raises:
        DataError: missing, not a picture or too large.
    """
    try:
        if path.is_fifo():  # it would be waited for
            raise DataError(f"{path}: cannot read the picture: it is a pipe")
        with path.open("rb") as file:
            head = file.read(24)
    except OSError as error:
        raise cannot_read(path, "picture", error) from error
    if head.startswith(_PNG_SIGNATURE) and len(head) == 24:
        width, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
    else:
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
        if picture is None:
            raise DataError(f"{path}: not a picture that can be decoded, or cut short")
        height, width = picture.shape[:2]
    if not 0 < height * width <= MAX_PICTURE_PIXELS:
        raise DataError(f"{path}: {height}x{width} is not the size of a video frame")
    return height, width


def open_voxels(path: Path) -> NDArray[np.generic]:
    """A voxel file (bins, height, width) of numbers, mapped: only what is used is read.

    Raises:
        DataError: missing, cut short, pickled or of another shape.
    """
    try:
        with reading(path):
            voxels = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise cannot_read(path, "voxels", error) from error
    except (ValueError, EOFError, SyntaxError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot read the voxels: {reason}") from error
    if not isinstance(voxels, np.ndarray) or voxels.ndim != 3 or voxels.dtype.kind not in "fui":
        raise DataError(f"{path}: voxels must be one array (bins, height, width) of numbers")
    return voxels
