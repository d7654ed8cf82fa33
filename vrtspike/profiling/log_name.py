"""A log of one's own for every run, also where two begin in the same second."""

import os
from dataclasses import replace

from vrtspike.profiling.records import RunRecord
from vrtspike.profiling.run_folder import RunPaths, relative_text


def claim_log(run: RunRecord, paths: RunPaths) -> tuple[RunRecord, RunPaths]:
    """Makes the log's file, alone among all processes.

    Where the documented name, which ends with the second, is another run's already, the log is
    called as the whole run. What is no plain file, such as a device, is written to as it is.

    Args:
        run: The record of a run that begins.
        paths: Where it writes.

    Returns:
        Both, with the name that the log has. A log that cannot be made keeps its name: whoever
        opens it says why.
    """
    try:
        paths.log.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(paths.log, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        if paths.log.is_file():
            return _with_log(run, paths)
    except OSError:
        return run, paths
    return run, paths


def _with_log(run: RunRecord, paths: RunPaths) -> tuple[RunRecord, RunPaths]:
    paths = replace(paths, log=paths.log.with_name(f"{run.run_id}.log"))
    return replace(run, log=relative_text(paths.log, paths.facts_dir)), paths
