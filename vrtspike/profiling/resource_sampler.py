"""Samples the machine from a process of its own, which never takes the trainer's lock.

    python -m vrtspike.profiling.resource_sampler --out FILE --main-pid PID ...

Starts without PyTorch, so that it is small. Ends when its standard input says so or its parent is
gone, so that no sampler outlives a killed trainer. What the trainer must hear at once goes to
standard output as well, one line of JSON each.
"""

import argparse
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vrtspike.profiling.clock import Clock, SystemClock
from vrtspike.profiling.gpu_thread import GpuThread
from vrtspike.profiling.jsonl_writer import JsonlWriter
from vrtspike.profiling.machine_records import MachineEventRecord, SamplerRecord
from vrtspike.profiling.memory_alarm import MEMORY_RUNNING_OUT, MemoryAlarm
from vrtspike.profiling.memory_counters import read_memory_counters
from vrtspike.profiling.nvml_gpus import Gpus
from vrtspike.profiling.process_tree import ProcessTree, TreeRoots
from vrtspike.profiling.pss_sweep import PssSweep
from vrtspike.profiling.records import ResourceRecord, to_line
from vrtspike.profiling.redaction import redact_value
from vrtspike.profiling.resources import Machine
from vrtspike.profiling.sampling_pace import SamplingPace

_FIRST_PATIENCE_S = 1.0  # opening the driver takes longer than asking it


def next_tick_ns(start_ns: int, interval_ns: int, now_ns: int) -> int:
    """The first multiple of the interval after `now_ns`: late samples shift no later ones."""
    return start_ns + ((now_ns - start_ns) // interval_ns + 1) * interval_ns


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A point of the grid; `missed` counts those passed over since the last one."""

    elapsed_s: float
    missed: int


def ticks(
    clock: Clock, interval_s: Callable[[], float], parent_pid: int, stdin: int
) -> Iterator[Tick]:
    """Yields on an even grid from the start until the parent is gone.

    Args:
        clock: The clock of the grid.
        interval_s: Seconds between two ticks; may grow to multiples of itself.
        parent_pid: The process whose end ends the ticks.
        stdin: A descriptor that ends the ticks when something, or its end, can be read.
    """
    start_ns = clock.perf_ns()
    last_ns = start_ns
    yield Tick(elapsed_s=0.0, missed=0)
    while os.getppid() == parent_pid:
        interval_ns = round(interval_s() * 1e9)
        now_ns = clock.perf_ns()
        due_ns = next_tick_ns(start_ns, interval_ns, now_ns)
        closed, _, _ = select.select([stdin], [], [], (due_ns - now_ns) / 1e9)
        if closed:
            return
        missed = max(0, (due_ns - last_ns) // interval_ns - 1)
        last_ns = due_ns
        yield Tick(elapsed_s=(clock.perf_ns() - start_ns) / 1e9, missed=missed)


class Sampling:
    """Writes samples, and events about the sampling itself, to one file.

    Args:
        out: The file.
        roots: The processes to follow.
        interval_s: Seconds between two samples, as asked for.
        clock: Dates and paces them.
        alarm: Judges the memory of each sample.
        tell: Hands a line to the trainer.
        redact: Leave out paths.
    """

    def __init__(
        self,
        out: Path,
        roots: TreeRoots,
        interval_s: float,
        clock: Clock,
        *,
        alarm: MemoryAlarm | None = None,
        tell: Callable[[str], None] | None = None,
        redact: bool = False,
    ) -> None:
        self._clock = clock
        self._redact = redact
        self._writer = JsonlWriter(out)
        self._sweep = PssSweep()
        self._pace = SamplingPace(interval_s)
        self._alarm = alarm or MemoryAlarm()
        self._tell = tell
        gpus = GpuThread(lambda: Gpus(say=self._say))
        self._machine = Machine(ProcessTree(roots, self._sweep), gpus, clock)
        self._num_bytes = 0
        self._missed = 0

    def interval_s(self) -> float:
        """Seconds between two samples now."""
        return self._pace.interval_s

    def sample(self, tick: Tick) -> None:
        """Writes one sample."""
        self._missed += tick.missed
        cpu_s = time.process_time()
        price = SamplerRecord(
            interval_s=self._pace.interval_s,
            cpu_s=round(cpu_s, 6),
            pss_cpu_s=round(self._sweep.cpu_s, 6),
            missed=self._missed,
            lost_lines=self._writer.lost_lines,
        )
        patience_s = 0.5 * self._pace.interval_s if tick.elapsed_s else _FIRST_PATIENCE_S
        record = self._machine.sample(price, patience_s)
        self._write(to_line(record))
        self._warn(tick.elapsed_s, record)
        reason = self._pace.judge(tick.elapsed_s, cpu_s, self._num_bytes)
        if reason is not None:
            self._say("sampling_slowed", interval_s=self._pace.interval_s, reason=reason)

    def count_memory(self, moment: str) -> None:
        """Writes what the kernel counts about memory that ran out.

        Args:
            moment: start, end, or trainer_gone: it ended without a word.
        """
        values = read_memory_counters().as_values()
        self._say(
            "memory_counters", moment=moment, **(redact_value(values) if self._redact else values)
        )

    def close(self) -> None:
        """Ends what still runs, and closes the file."""
        self._machine.close()
        self._writer.close()

    def _warn(self, elapsed_s: float, record: ResourceRecord) -> None:
        warning = self._alarm.judge(elapsed_s, record.host, record.processes)
        if warning is None:
            return
        line = self._event(MEMORY_RUNNING_OUT, warning.values())
        self._write(line)
        if self._tell is not None:
            self._tell(line)

    def _say(self, name: str, **values: float | int | str | None) -> None:
        self._write(self._event(name, values))

    def _event(self, name: str, values: dict[str, float | int | str | None]) -> str:
        at_unix_s = self._clock.unix_s()
        return to_line(MachineEventRecord(name=name, at_unix_s=at_unix_s, values=values))

    def _write(self, line: str) -> None:
        self._writer.write([line])
        self._num_bytes += len(line)


def sample_until_parent_ends(arguments: argparse.Namespace, clock: Clock) -> None:
    """Writes one line at each tick."""
    roots = TreeRoots(
        root_pid=arguments.root_pid, main_pid=arguments.main_pid, sampler_pid=os.getpid()
    )
    sampling = Sampling(
        arguments.out,
        roots,
        arguments.interval_s,
        clock,
        alarm=MemoryAlarm(arguments.cache_bytes),
        tell=_tell_trainer,
        redact=arguments.redact,
    )
    sampling.count_memory("start")
    stdin = sys.stdin.fileno()
    for tick in ticks(clock, sampling.interval_s, arguments.main_pid, stdin):
        sampling.sample(tick)
    sampling.count_memory("end" if was_asked_to_end(stdin) else "trainer_gone")
    sampling.close()


def _tell_trainer(line: str) -> None:
    try:
        os.write(sys.stdout.fileno(), line.encode())
    except OSError:  # nobody listens, or nobody listens in time: the line stands in the file
        return


def was_asked_to_end(stdin: int) -> bool:
    """Whether the trainer said so; when it is gone, its end of the pipe just closes."""
    readable, _, _ = select.select([stdin], [], [], 0)
    return bool(readable) and bool(os.read(stdin, 1))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vrtspike.profiling.resource_sampler")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--main-pid", type=int, required=True, help="the trainer, our parent")
    parser.add_argument("--root-pid", type=int, required=True, help="top of the sampled tree")
    parser.add_argument("--interval-s", type=float, required=True)
    parser.add_argument("--cache-bytes", type=int, default=0, help="what a cache may grow to")
    parser.add_argument("--redact", action="store_true", help="leave out paths")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Runs the sampler; exit code 0 whatever became of single lines."""
    os.set_blocking(sys.stdout.fileno(), False)  # a trainer that stands still must hold up nothing
    # Signals reach the whole process group; the trainer decides when this process ends.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sample_until_parent_ends(_parse(argv), SystemClock())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
