"""MA003: the run itself has more busy threads than cores."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, ConfigChange
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_MACHINE, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_FEWER_THREADS = (
    "Give each rank {proposed} thread(s) instead of {current}: {workers} loader process(es) and "
    "{ranks} rank(s) (shares|share) {cores} core(s)."
)
_FEWER_PROCESSES = (
    "Use fewer ranks or loader processes: {busy:.3g} of them share {cores} cores, and each is busy."
)


class CoresOversubscribed(Rule):
    """Ranks with their threads, and loader processes, against the cores."""

    code = "MA003"
    name = "cores-oversubscribed"
    explains = ("CF006",)
    summary = (
        "{busy:.3g} threads of this run want {cores} cores ({ranks} rank(s) of {threads} compute "
        "thread(s), {workers} loader process(es))."
    )
    docs = """
## What it measures
The compute threads of all ranks of a machine (one for each rank on a GPU) and its loader
processes, against the cores that they may use. Loader processes count with the cores that they
were seen to use, or, where nobody watched them, with one core each.

## Why it matters
Threads that share a core interrupt each other: OpenMP's threads then spin while they wait for the
one that was put aside, and a step takes much longer than its work.

## What to try
OMP_NUM_THREADS so that ranks times threads and the loader processes fit; fewer ranks on a CPU.

## False alarms
Loader processes that wait for a slow disk use no core: where the run was seen to leave cores
unused, nothing is said.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    least_used: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Count who wants a core."""
        cores, workers = measured.cpus_allowed, measured.num_workers
        threads = 1 if measured.device == "cuda" else measured.compute_threads
        if not cores or workers is None or threads is None or measured.device is None:
            return self.not_evaluated(
                "cores, compute threads or loader processes are not known", RECORD_MACHINE
            )
        ranks = measured.ranks_per_machine
        busy = ranks * threads + _loaders(measured, workers)
        severity = self.grade(busy / cores)
        own = measured.own_cores
        if severity is None or (own is not None and own < self.least_used.value * cores):
            return None
        values = {
            "busy": busy, "cores": cores, "ranks": ranks, "threads": threads, "workers": workers
        }  # fmt: skip
        source = measured.source("cpus_allowed")
        return self.finding(
            severity,
            values,
            (
                row("threads / cores", busy / cores, "", self.at_note, source),
                row("time in which a task waited for a core", measured.cpu_stall_share, "share"),
            ),
            (_advice(measured, cores, ranks, threads, workers),),
        )


def _loaders(measured: Measurements, workers: int) -> float:
    """Cores that the loader processes want: what they were seen to use, one each at most."""
    return workers if measured.loader_cores is None else min(workers, measured.loader_cores)


def _advice(measured: Measurements, cores: int, ranks: int, threads: int, workers: int) -> Advice:
    loaders = _loaders(measured, workers)
    proposed = max(1, int((cores - min(loaders, cores // 2)) // ranks))
    sign = verify("steps shorter and less uneven")
    if measured.device == "cuda" or proposed >= threads:
        busy = ranks * threads + loaders
        return Advice(text=say(_FEWER_PROCESSES, busy=busy, cores=cores), verify=sign)
    return Advice(
        text=say(
            _FEWER_THREADS,
            proposed=proposed,
            current=threads,
            workers=workers,
            ranks=ranks,
            cores=cores,
        ),
        config_change=ConfigChange(key="OMP_NUM_THREADS", current=threads, proposed=proposed),
        verify=sign,
    )
