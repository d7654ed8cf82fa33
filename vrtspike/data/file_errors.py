"""What to say of a file that cannot be read: what is wrong with it, and what helps."""

import errno
from pathlib import Path

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
