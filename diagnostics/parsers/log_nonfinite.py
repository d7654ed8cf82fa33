"""The steps whose loss a log states as NaN or infinite, which is no missing number."""

import numpy as np
import pandas as pd

from diagnostics.parsers.line_shapes import STEP
from diagnostics.parsers.scanned import LOG_LINE, Scanned

LOSS = "loss"


def with_bad_losses(steps: pd.DataFrame, places: pd.DataFrame, found: Scanned) -> pd.DataFrame:
    """The table `steps`, with `nonfinite` where a line states such a loss.

    Args:
        steps: The table.
        places: The numbers of the step lines in the file (`place`), with the step of each.
        found: The scanned log.
    """
    bad = [np.empty(0, "int64")]
    for key, columns in found.columns.items():
        if key.kind == LOG_LINE and LOSS in key.names:
            at, values = columns.joined()
            bad.append(at[~np.isfinite(values[:, key.names.index(LOSS)])])
    wrong = places.loc[places["place"].isin(np.concatenate(bad)), STEP]
    if not len(wrong):
        return steps
    is_wrong = steps[STEP].isin(wrong)
    return steps.assign(nonfinite=steps["nonfinite"].mask(is_wrong, LOSS))
