"""Which files of a folder are traces: what `tensorboard_trace_handler` and others leave behind."""

from itertools import islice
from pathlib import Path

TRACE_ENDINGS = (".json", ".json.gz")
MAX_FILES = 4096
"""A folder of more files than this is no folder of traces."""


def could_be_traces(folder: Path) -> list[Path]:
    """Files with a trace's ending, in the order of their names.

    Raises:
        OSError: the folder cannot be read.
    """
    found = islice(folder.iterdir(), MAX_FILES)
    return sorted(path for path in found if path.name.endswith(TRACE_ENDINGS) and path.is_file())
