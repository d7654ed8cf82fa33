"""What the training set holds, as the run said before its first step."""

import math
from dataclasses import dataclass

from diagnostics.run import Run


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """All ranks together; None is not known. `decoded_bytes` is what a cache of all of it holds."""

    train_samples: float | None
    train_frames: float | None
    frame_reads: float | None
    file_bytes: float | None
    decoded_bytes: float | None

    @property
    def first_read_share(self) -> float | None:
        """Of the frames that an epoch reads, those that it has not read before."""
        if self.train_frames is None or not self.frame_reads:
            return None
        return min(1.0, self.train_frames / self.frame_reads)


def compute_data_set(run: Run) -> DataSet | None:
    """As the lowest rank said; all ranks read one data set. None where the run did not say."""
    sets = run.tables.data_sets
    if not len(sets):
        return None
    row = sets.sort_values("rank", kind="stable").iloc[0]
    known = {
        name: None if math.isnan(row[name]) else float(row[name])
        for name in DataSet.__dataclass_fields__
    }
    return DataSet(**known)
