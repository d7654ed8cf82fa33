"""What to say of a file that cannot be read: what is wrong with it, and what helps."""

import errno
import os
import stat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vrtspike.data.loading_faults import FILES_CURE, SystemLimitError
from vrtspike.errors import DataError

_FAILED = "the disk or the network share that holds it has failed: see `dmesg` and `mount`"
_CURES = {
    errno.EIO: _FAILED,
    errno.ESTALE: "the network share was replaced under the run: mount it anew",
    errno.ENOTCONN: _FAILED,
    errno.ETIMEDOUT: _FAILED,
    errno.EHOSTDOWN: _FAILED,
    errno.ENODEV: _FAILED,
    errno.ENXIO: _FAILED,
    errno.EACCES: "this user may not read it",
}


def plain_size(path: Path) -> int:
    """Bytes of a plain file: a pipe would be waited for, a device could have no end.

    Raises:
        OSError: as the system says it, or the file is another thing.
    """
    found = os.stat(path)  # noqa: PTH116 - one syscall, no Path object per frame
    if stat.S_ISFIFO(found.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe")
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no plain file, but a folder or a device")
    return found.st_size


def whole_file(path: Path) -> NDArray[np.uint8]:
    """The bytes of a file.

    NumPy's own function takes a failing disk for the end of the file, and gives what it has.

    Raises:
        OSError: as the system says it.
    """
    with path.open("rb", buffering=0) as file:
        expected = os.fstat(file.fileno()).st_size
        found = np.empty(expected + 1, np.uint8)  # one more: the end has to be seen
        size = 0
        while size < len(found) and (count := file.readinto(found[size:].data)):
            size += count
    return found[:size]


def check_plain(path: Path, what: str) -> None:
    """Raises DataError unless it is a plain file; `what` as in `cannot_read`."""
    try:
        plain_size(path)
    except OSError as error:
        raise cannot_read(path, what, error) from error


def cannot_read(path: Path, what: str, error: OSError) -> DataError:
    """The error to raise for a file that the system refuses to give.

    Args:
        path: The file.
        what: What it is, such as "picture".
        error: What the system said.

    Returns:
        A `DataError` that names the file; a `SystemLimitError` where the file is not to blame.
    """
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return SystemLimitError(
            f"{path}: cannot read the {what}: too many open files: {FILES_CURE}"
        )
    cure = _CURES.get(error.errno or 0)
    return DataError(
        f"{path}: cannot read the {what}: {error.strerror or error}"
        + (f" ({cure})" if cure else "")
    )
