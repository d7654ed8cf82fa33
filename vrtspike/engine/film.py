"""Films in and out: a video file, or a folder of pictures; outputs are whole or absent."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from vrtspike.data.frames import read_rgb
from vrtspike.data.spike_stream import ByteArray
from vrtspike.errors import DataError

VIDEO_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
PICTURE_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
DEFAULT_FPS = 25.0


class Film(Protocol):
    """Frames in order, RGB uint8 (height, width, 3), all of one size; `names` has one for each."""

    names: list[str]
    size: tuple[int, int]
    fps: float

    def frames(self) -> Iterator[ByteArray]:
        """Read the frames from the beginning."""
        ...


def open_film(path: Path) -> Film:
    """A video file or a folder of pictures.

    Raises:
        DataError: missing, empty, or nothing that can be decoded.
    """
    if path.is_dir():
        return PictureFolder(path)
    if not path.exists():
        raise DataError(f"{path}: no such video or folder")
    if not path.is_file():  # a pipe or a device might never end
        raise DataError(f"{path}: is neither a video file nor a folder")
    return VideoFile(path)


class PictureFolder:
    """Pictures of a folder, sorted by name."""

    def __init__(self, folder: Path) -> None:
        """List the folder; raises DataError if it holds no picture."""
        found = (path for path in folder.iterdir() if path.suffix.lower() in PICTURE_ENDINGS)
        self._paths = sorted(found)
        if not self._paths:
            raise DataError(f"{folder}: holds no pictures ({', '.join(sorted(PICTURE_ENDINGS))})")
        self.names = [path.stem for path in self._paths]
        if len(set(self.names)) < len(self.names):
            raise DataError(f"{folder}: two pictures share a name and differ in their endings only")
        height, width = read_rgb(self._paths[0]).shape[:2]
        self.size = (height, width)
        self.fps = DEFAULT_FPS

    def frames(self) -> Iterator[ByteArray]:
        """Read the pictures; raises DataError naming one that is broken or of another size."""
        for path in self._paths:
            picture = read_rgb(path)
            if picture.shape[:2] != self.size:
                raise DataError(
                    f"{path}: {picture.shape[0]}x{picture.shape[1]} pixels, but the first picture "
                    f"has {self.size[0]}x{self.size[1]}"
                )
            yield picture


class VideoFile:
    """A video that OpenCV can decode; decoded once to count its frames, since headers lie."""

    def __init__(self, path: Path) -> None:
        """Count the frames; raises DataError if there are none."""
        self._path = path
        capture = self._open()
        self.fps = float(capture.get(cv2.CAP_PROP_FPS)) or DEFAULT_FPS
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.size = (height, int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)))
        count = 0
        while capture.grab():
            count += 1
        capture.release()
        if not count:
            raise DataError(f"{path}: no frame of this video can be decoded")
        self.names = [f"{number:06d}" for number in range(count)]

    def frames(self) -> Iterator[ByteArray]:
        """Decode the video; raises DataError if it ends early."""
        capture = self._open()
        try:
            for number in range(len(self.names)):
                read, picture = capture.read()
                if not read:
                    raise DataError(f"{self._path}: frame {number} cannot be decoded")
                yield np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        _quieten_opencv()
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise DataError(f"{self._path}: not a video that can be decoded")
        return capture


def _quieten_opencv() -> None:
    """Our one line says what is wrong with a video; OpenCV and FFmpeg would add their own."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg's own number for silence
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class FilmWriter(Protocol):
    """Receives frames in order."""

    def write(self, name: str, picture: ByteArray) -> None:
        """Add one RGB frame."""
        ...


def check_output(path: Path) -> None:
    """Refuse an output that could not be written, before any work is done for it.

    Raises:
        DataError: unknown ending, a folder that holds something, or a missing parent folder.
    """
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}")
    if path.suffix and path.suffix.lower() not in VIDEO_CODECS:
        raise DataError(
            f"{path}: write a video ({', '.join(VIDEO_CODECS)}), or pictures into a folder "
            "(a name without an ending)"
        )
    if path.is_dir() and (path.suffix or any(path.iterdir())):
        raise DataError(f"{path}: is a folder that is not empty; choose another name")
    if path.is_file() and not path.suffix:
        raise DataError(f"{path}: is a file; choose another name for the folder of pictures")


@contextmanager
def create_film(path: Path, size: tuple[int, int], fps: float) -> Iterator[FilmWriter]:
    """A video or a folder of PNG pictures, by the ending of `path`; it appears when it is whole.

    Raises:
        DataError: see `check_output`; or the frames cannot be encoded.
    """
    check_output(path)
    try:
        writer = _VideoWriter(path, size, fps) if path.suffix else _FolderWriter(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        yield writer
        writer.commit()
    finally:
        writer.discard()


class _VideoWriter:
    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self._path = path
        handle, name = tempfile.mkstemp(suffix=path.suffix, prefix=".deblur-", dir=path.parent)
        os.close(handle)
        self._temporary = Path(name)
        codec = cv2.VideoWriter.fourcc(*VIDEO_CODECS[path.suffix.lower()])
        self._writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, codec, fps, (size[1], size[0]))
        if not self._writer.isOpened():
            self._temporary.unlink()
            raise DataError(f"{path}: this build of OpenCV cannot write such a video")

    def write(self, name: str, picture: ByteArray) -> None:
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def commit(self) -> None:
        self._writer.release()
        self._temporary.chmod(0o644)
        self._temporary.replace(self._path)

    def discard(self) -> None:
        self._writer.release()
        self._temporary.unlink(missing_ok=True)


class _FolderWriter:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = Path(tempfile.mkdtemp(prefix=".deblur-", dir=path.parent))

    def write(self, name: str, picture: ByteArray) -> None:
        file = self._temporary / f"{name}.png"
        if not cv2.imwrite(str(file), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
            raise DataError(f"{file}: the picture cannot be written; is the disk full?")

    def commit(self) -> None:
        self._temporary.chmod(0o755)
        self._temporary.replace(self._path)  # an empty folder of that name is replaced

    def discard(self) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)
