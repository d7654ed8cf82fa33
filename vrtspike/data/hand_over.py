"""Faults of the threads that hand a process's batches over: told, where they were printed and lost.

Such a thread shares a finished batch (shared memory, descriptors). What fails there is printed by
Python and the batch is dropped, and the trainer would wait for it for ever.
"""

import multiprocessing.queues
import os
import sys
from types import TracebackType
from typing import Any

from vrtspike.data.reading_board import ReadingBoard

EXIT_CODE = 75
"""Of a process that could not hand a batch over (EX_TEMPFAIL of sysexits.h)."""


def tell_of_hand_over(board: ReadingBoard) -> None:
    """In a loading process: faults of these threads are left on the board from now on.

    One that loses a batch ends the process, so that the trainer notices at once.
    """

    def lost(error: BaseException, batch: Any) -> None:
        del batch
        board.report(error)
        os._exit(EXIT_CODE)

    def failed(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        del kind, trace
        board.report(error)

    # Python's own hook for it, meant to be overridden.
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(lost)  # type: ignore[attr-defined]
    sys.excepthook = failed
