"""Made-up courses of a watched training: one moment a second."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from diagnostics.watched import Moment, WatchedGpu, WatchedProcess

MIB, GIB = 1 << 20, 1 << 30
START_UNIX_S = 1_767_322_800.0
Rise = Callable[[int], float]
"""MiB at each second."""


def noisy(seed: int, level: float = 300.0, swing: float = 12.0) -> Rise:
    """A level with the noise of batches that come and go."""
    generator = np.random.default_rng(seed)
    return lambda at: level + float(generator.uniform(0, swing))


def process(pid: int, role: Any, own_mib: float, **fields: Any) -> WatchedProcess:
    """A process that holds so much of its own."""
    return WatchedProcess(pid=pid, started=1, role=role, own_bytes=int(own_mib * MIB), **fields)


def course(
    seconds: int,
    rises: Mapping[int, Rise] | None = None,
    change: Callable[[int, Moment], Moment] | None = None,
) -> Iterator[Moment]:
    """A trainer (10), two loader processes (11, 12) and a sampler (13); `rises` adds to them."""
    base = {pid: noisy(pid) for pid in (10, 11, 12, 13)}
    roles = {10: "main", 11: "worker", 12: "worker", 13: "sampler"}
    for at in range(seconds):
        processes = tuple(
            process(
                pid,
                roles[pid],
                level(at) + (rises or {}).get(pid, lambda _: 0.0)(at),
                shared_bytes=20 * MIB,
                written_bytes=MIB,
            )
            for pid, level in base.items()
        )
        moment = Moment(
            at_s=float(at),
            unix_s=START_UNIX_S + at,
            processes=processes,
            gpus=(WatchedGpu(index=0, util_percent=80.0, used_bytes=GIB, total_bytes=8 * GIB),),
            free_bytes=4 * GIB,
            limit_bytes=16 * GIB,
            cache_bytes=GIB,
            shm_used_bytes=8 * MIB,
            swap_used_bytes=0,
            disk_read_bytes=3 * MIB * at,
            disk_write_bytes=0,
            own_cpu_s=0.01 * at,
        )
        yield change(at, moment) if change else moment


def with_process(moment: Moment, pid: int, **fields: Any) -> Moment:
    """The moment with other figures of one process."""
    changed = (replace(p, **fields) if p.pid == pid else p for p in moment.processes)
    return replace(moment, processes=tuple(changed))
