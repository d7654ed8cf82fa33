"""Samples the machine from a process of its own, which never takes the trainer's lock.

    python -m vrtspike.profiling.resource_sampler --out FILE --main-pid PID ...

Starts without PyTorch, so that it is small. Ends when its standard input says so or its parent is
gone, so that no sampler outlives a killed trainer.
"""

import argparse
import os
import select
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from vrtspike.profiling.clock import Clock, SystemClock
from vrtspike.profiling.jsonl_writer import JsonlWriter
from vrtspike.profiling.process_tree import ProcessTree, TreeRoots
from vrtspike.profiling.records import to_line
from vrtspike.profiling.resources import Gpus, Machine

PSS_EVERY_S = 10.0
"""Proportional memory costs 3-40 ms a large process, hence it is read this seldom."""


def next_tick_ns(start_ns: int, interval_ns: int, now_ns: int) -> int:
    """The first multiple of the interval after `now_ns`: late samples shift no later ones."""
    return start_ns + ((now_ns - start_ns) // interval_ns + 1) * interval_ns


def ticks(clock: Clock, interval_s: float, parent_pid: int, stdin: int) -> Iterator[float]:
    """Yields seconds since the start on an even grid until the parent is gone.

    Args:
        clock: The clock of the grid.
        interval_s: Seconds between two ticks.
        parent_pid: The process whose end ends the ticks.
        stdin: A descriptor that ends the ticks when something, or its end, can be read.
    """
    interval_ns = round(interval_s * 1e9)
    start_ns = clock.perf_ns()
    yield 0.0
    while os.getppid() == parent_pid:
        now_ns = clock.perf_ns()
        due_ns = next_tick_ns(start_ns, interval_ns, now_ns)
        closed, _, _ = select.select([stdin], [], [], (due_ns - now_ns) / 1e9)
        if closed:
            return
        yield (clock.perf_ns() - start_ns) / 1e9


def sample_until_parent_ends(arguments: argparse.Namespace, clock: Clock) -> int:
    """Writes one line at each tick; returns the number of lines the system refused."""
    roots = TreeRoots(
        root_pid=arguments.root_pid, main_pid=arguments.main_pid, sampler_pid=os.getpid()
    )
    gpus = Gpus()
    machine = Machine(ProcessTree(roots), gpus, clock)
    writer = JsonlWriter(arguments.out)
    next_pss_s = 0.0
    for elapsed_s in ticks(clock, arguments.interval_s, arguments.main_pid, sys.stdin.fileno()):
        with_pss = elapsed_s >= next_pss_s
        next_pss_s = elapsed_s + PSS_EVERY_S if with_pss else next_pss_s
        writer.write(to_line(machine.sample(with_pss=with_pss)))
    writer.close()
    gpus.close()
    return writer.lost_lines


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vrtspike.profiling.resource_sampler")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--main-pid", type=int, required=True, help="the trainer, our parent")
    parser.add_argument("--root-pid", type=int, required=True, help="top of the sampled tree")
    parser.add_argument("--interval-s", type=float, required=True)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Runs the sampler; exit code 0 whatever became of single lines."""
    # Ctrl-C reaches the whole process group; the trainer decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sample_until_parent_ends(_parse(argv), SystemClock())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
