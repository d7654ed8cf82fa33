"""How many loading processes a machine has room for: by cores if they compute, else by memory."""

from diagnostics.rules.measurements import Measurements

MOSTLY_WAITS = 0.5
"""A making that computes less than this share of its time leaves its core to others."""

SURELY_WAITS = 0.1
"""The same where others keep all cores busy, so that a core is waited for."""
FULL = 0.9

MOST_OF_RANK = 16
"""Loading processes that wait side by side, for one rank: a disk or a server is asked by each."""

_HALF_THE_MACHINE = 0.5
_MOST_OF_UNKNOWN_SIZE = 8


def waits_mostly(measured: Measurements) -> bool:
    """Whether making a batch is known to wait rather than to compute.

    On a full machine a process that computes waits, too: for a core, as most others do.
    """
    share, busy, cores = measured.making_core_share, measured.busy_cores, measured.machine_cores
    is_full = busy is not None and bool(cores) and busy >= FULL * (cores or 0)
    return share is not None and share < (SURELY_WAITS if is_full else MOSTLY_WAITS)


def wait_side_by_side(measured: Measurements) -> bool:
    """Whether there are more loading processes than the guide's rule gives, and they wait.

    What they wait for was asked by many at once then, and still was not fast enough.
    """
    current, cores = measured.num_workers, measured.cpus_allowed
    if current is None or cores is None or not waits_mostly(measured):
        return False
    return current > max(1, workers_to_propose(cores, measured.world_size or 1))


def most_workers(measured: Measurements, cpus_allowed: int) -> int:
    """Loading processes of a machine: the guide's rule, or what is left for those that wait.

    These may use half the cores together, and half of the memory that stayed free.
    """
    guided = workers_to_propose(cpus_allowed, measured.world_size or 1)
    share = measured.making_core_share
    if share is None or not waits_mostly(measured):
        return guided
    ranks = measured.ranks_per_machine
    by_cores = int(_HALF_THE_MACHINE * cpus_allowed / max(share, 1e-3))
    return max(guided, min(MOST_OF_RANK * ranks, by_cores, _by_memory(measured)))


def _by_memory(measured: Measurements) -> int:
    """Those there are, and what half of the free memory holds beside them; 8 where unknown."""
    free, size = measured.host_memory_free_bytes, measured.loader_process_bytes
    if free is None or not size:
        return _MOST_OF_UNKNOWN_SIZE
    return (measured.num_workers or 0) + int(_HALF_THE_MACHINE * free / size)


def workers_to_propose(cpus_allowed: int, world_size: int) -> int:
    """Workers of a machine by the performance guide's cautious rules.

    Up to 8 for one GPU and 4 for each of several, and at most half the cores.
    """
    by_gpu = 8 if world_size == 1 else 4 * world_size
    return min(by_gpu, cpus_allowed // 2)
