"""One line for what PyTorch raises when another rank is gone or does not answer."""

import re

from vrtspike.errors import VRTSpikeError


class LostRankError(VRTSpikeError):
    """Another process of the run died, or kept this one waiting for too long."""


# gloo's words for a peer that is gone, and those of NCCL and of the store of addresses.
_GONE = re.compile(
    r"Connection (?:closed by peer|reset by peer|refused)|Broken pipe|Socket Timeout"
    r"|failed to (?:recv|send), got|remote process exited|ncclRemoteError|NCCL communicator was"
    r"|Application timeout caused pair closure"
)
_SILENT = re.compile(r"Timed out waiting (\d+)ms|Watchdog caught collective operation timeout")
_NAMES = ("gloo", "ProcessGroup", "NCCL", "nccl", "TCPStore", "c10d", "Connection", "Timed out")


def explain_lost_rank(error: BaseException, timeout_s: float) -> LostRankError | None:
    """What to tell the user; None where the error is of another kind.

    Args:
        error: What a collective, or DDP's backward, raised.
        timeout_s: How long a rank waits for the others.
    """
    said = " ".join(str(error).split())
    if not any(name in said for name in _NAMES):
        return None
    if _SILENT.search(said):
        return LostRankError(
            f"another rank did not answer for {timeout_s:g} s: it hangs, is stopped, or does "
            "something long alone. Look at the last lines of the other ranks' facts "
            "(steps.rank<N>.jsonl); if waiting so long is in order, raise "
            f"TRAIN.COLLECTIVE_TIMEOUT_S ({said[:200]})"
        )
    if _GONE.search(said):
        return LostRankError(
            "another rank is gone: it was killed, or failed and says why itself. torchrun names "
            "the first one that ended; likely causes are host memory that ran out (the kernel's "
            f"log says so) and a node that went away ({said[:200]})"
        )
    return None
