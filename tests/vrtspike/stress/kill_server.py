"""Kills ranks and loading processes that share one cache, and looks at what they leave.

Reads one request a line from standard input and answers with what it found, as JSON. Everything
that is killed is real: two ranks with the trainer's own loaders, data set and cache, and two
loading processes each. The leader of a case holds the cache's memory, so that it can look into it
when all others are dead.
"""

import contextlib
import gc
import json
import multiprocessing.util
import os
import random
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import torch.utils.data._utils.worker as torch_worker

from tests.vrtspike.stress import laws
from tests.vrtspike.training_process import PATIENCE_S
from vrtspike.config import config_from_mapping
from vrtspike.data import lean
from vrtspike.data.cache_memory import CacheMemory, MemoryAddress
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.frames import read_rgb
from vrtspike.data.loader import LoaderJob, build_loaders
from vrtspike.data.loading_faults import LoadingDiedError, explain_fault
from vrtspike.data.shared_cache import SharedCache
from vrtspike.data.spike_stream import read_dat
from vrtspike.engine.interrupts import let_children_die

RANKS, WORKERS = 2, 2
BUDGET_BYTES = 200_000
"""Room for about half of the frames: entries are replaced all the time."""
DIED, WRONG, ALONE = 2, 3, 4
VICTIMS = ("worker", "worker", "both workers", "rank", "rank and workers", "everything")


class WrongSampleError(Exception):
    """A sample is not what the files hold."""


@dataclass
class Case:
    """One case: its chance, and what became of it."""

    chance: random.Random
    config: dict[str, Any]
    folder: Path | None
    pids: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    pipes: list[Connection] = field(default_factory=list)
    address: MemoryAddress | None = None
    told: dict[str, Any] = field(default_factory=dict)


def loaders_of(case: Case, rank: int, gather) -> Any:
    config = config_from_mapping(case.config, "the kills")
    job = LoaderJob(seed=3, rank=rank, world_size=RANKS, local_ranks=RANKS, gather=gather)
    return build_loaders(config.data, config.dataloader, job)


def plain_set(case: Case) -> SpikeDeblurDataset:
    """The same data set without a cache: what every sample has to be."""
    config = config_from_mapping(case.config, "the kills")
    return SpikeDeblurDataset(config.data, config.data.train_split, training=True, seed=3)


def live_as_rank(case: Case, rank: int, pipe: Connection) -> None:
    """A rank's life: join the cache, then load and compare, epoch after epoch."""
    made: list[CacheMemory] = []
    for name in ("make", "attach"):
        kept = getattr(CacheMemory, name)

        def keep(*args, kept=kept, **kwargs):
            made.append(kept(*args, **kwargs))
            return made[-1]

        setattr(CacheMemory, name, keep)

    def gather(value):
        pipe.send(("gather", value))
        return pipe.recv()

    loaders = loaders_of(case, rank, gather)
    plain = plain_set(case)
    places = {
        (plain.clips[clip].name, plain.clips[clip].frames[start].number): index
        for index, (clip, start) in enumerate(plain._windows)
    }
    pipe.send(("ready", made[0].address))
    served = 0
    for epoch in range(case.told["epochs"]):
        loaders.start_epoch(epoch)
        plain.set_epoch(epoch)
        for batch in loaders.train:
            for each, (name, frames) in enumerate(
                zip(batch["meta"]["seq"], batch["meta"]["frame_idx"].tolist(), strict=True)
            ):
                right = lean.collate([plain[places[name, frames[0]]]])
                for key in ("blur", "sharp", "spike_vox"):
                    if not torch.equal(batch[key][each], right[key][0]):
                        raise WrongSampleError(f"{key} of {name} {frames}, epoch {epoch}")
                served += 1
        pipe.send(("served", served))


def rank_main(case: Case, rank: int, pipe: Connection) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    said, code = "", 1
    try:
        live_as_rank(case, rank, pipe)
        code = 0
    except LoadingDiedError as error:
        said, code = str(error), DIED
    except WrongSampleError as error:
        said, code = str(error), WRONG
    except RuntimeError as error:  # PyTorch's signal handler interrupts whatever runs
        died = explain_fault(error)
        said, code = (str(died), DIED) if died else (traceback.format_exc(), 1)
    except (EOFError, OSError) as error:  # the leader's word that another rank is gone
        said, code = repr(error), ALONE
    finally:
        let_children_die()  # the next death must not break what tells of the first one
        if sys.exc_info()[0] is not None:
            said = traceback.format_exc()
        with contextlib.suppress(OSError):
            pipe.send(("end", said))
        pipe.close()
        multiprocessing.util._exit_function()  # as a program ends: its children are waited for
        os._exit(code)


def start_ranks(case: Case) -> None:
    for rank in range(RANKS):
        ours, theirs = Pipe()
        pid = os.fork()
        if pid == 0:
            for pipe in (*case.pipes, ours):
                pipe.close()
            rank_main(case, rank, theirs)
        theirs.close()
        case.pids.append(pid)
        case.pipes.append(ours)


@dataclass
class Meeting:
    """What the ranks say to the leader, who passes their values on."""

    case: Case
    values: dict[int, Any] = field(default_factory=dict)
    ready: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    served: dict[int, int] = field(default_factory=dict)
    said: dict[int, str] = field(default_factory=dict)

    def listen(self, until_s: float) -> None:
        """Hears them until a moment, or until all are gone."""
        pipes = self.case.pipes
        while (left := until_s - time.monotonic()) > 0 and len(self.gone) < RANKS:
            open_pipes = [p for rank, p in enumerate(pipes) if rank not in self.gone]
            for pipe in wait(open_pipes, left):
                if not pipe.closed:  # another one's end may have closed it meanwhile
                    self._hear(pipes.index(pipe), pipe)

    def _hear(self, rank: int, pipe: Connection) -> None:
        try:
            kind, value = pipe.recv()
        except (EOFError, ConnectionError):
            self._lost(rank)
            return
        if kind == "gather":
            self.values[rank] = value
            self._pass_on()
        elif kind == "ready":
            self.ready.add(rank)
            self._attach(value)
        elif kind == "served":
            self.served[rank] = value
        else:
            self.said[rank] = value

    def _attach(self, address: MemoryAddress) -> None:
        if self.case.address is None:
            with contextlib.suppress(OSError):
                self.case.told["memory"] = CacheMemory.attach(address)
                self.case.address = address

    def _pass_on(self) -> None:
        if len(self.values) == RANKS:
            found = [self.values[rank] for rank in range(RANKS)]
            self.values.clear()
            for rank, pipe in enumerate(self.case.pipes):
                with contextlib.suppress(OSError):
                    if rank not in self.gone:
                        pipe.send(found)

    def _lost(self, rank: int) -> None:
        """A rank is gone: who still waits for it would wait for ever, as without a time-out."""
        self.gone.add(rank)
        self.case.pipes[rank].close()
        for other in range(RANKS):
            if other not in self.gone and other not in self.ready:
                self.gone.add(other)
                self.case.pipes[other].close()


def children_of(pid: int) -> list[int]:
    with contextlib.suppress(psutil.Error):
        return [each.pid for each in psutil.Process(pid).children()]
    return []


def strike(case: Case) -> str:
    """Kills some of the processes, which must be there by now; returns whom."""
    rank = case.chance.randrange(RANKS)
    pid, victim = case.pids[rank], case.chance.choice(VICTIMS)
    workers = children_of(pid)
    case.seen = [each for one in case.pids for each in (one, *children_of(one))]
    chosen = {
        "worker": case.chance.sample(workers, min(1, len(workers))),
        "both workers": workers,
        "rank": [pid],
        "rank and workers": [pid, *workers],
        "everything": [each for one in case.pids for each in (one, *children_of(one))],
    }[victim]
    for each in chosen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    return f"{victim} of rank {rank}" if chosen else "nobody"


def exit_codes(case: Case) -> list[int | None]:
    """Of the ranks; None where one had to be given up."""
    until, codes = time.monotonic() + PATIENCE_S, []
    for pid in case.pids:
        code = None
        while code is None and time.monotonic() < until:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(0.005)
        codes.append(code)
    return codes


def wait_for_session(session: int) -> list[int]:
    """Waits until nobody but this process is left of the session; who is left all the same."""
    until = time.monotonic() + PATIENCE_S
    while left := [pid for pid in in_session(session) if pid != os.getpid()]:
        if time.monotonic() > until:
            return left
        time.sleep(0.02)
    return []


def in_session(session: int) -> list[int]:
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            with contextlib.suppress(OSError):
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    found.append(int(path.name))
    return found


def holders_of(memory: CacheMemory) -> list[int]:
    """Processes that have the cache's memory open."""
    inode, found = memory.address.path.stat().st_ino, []
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if path.stat().st_ino == inode:
                found.append(int(path.parts[2]))
    return found


def expected_arrays(dataset: SpikeDeblurDataset, folder: Path) -> list[np.ndarray]:
    """What the cache's entries have to be, in the order of their numbers."""
    arrays = []
    for key in dataset.cache_keys():
        kind, _, path = key.partition(":")
        sensor = dataset.clips[0].sensor
        arrays.append(
            read_dat(Path(path), sensor.spike_h, sensor.spike_w, byte_padded=True).packed
            if kind == "spike"
            else read_rgb(Path(path))
        )
    return arrays


def look_into(case: Case, memory: CacheMemory) -> dict[str, int]:
    """Every entry that a fresh process finds is whole, and it can keep all of them anew."""
    dataset = plain_set(case)
    arrays = expected_arrays(dataset, Path())
    cache = SharedCache(
        memory,
        num_items=len(arrays),
        limit_bytes=BUDGET_BYTES,
        num_slots=RANKS * (WORKERS + 1),
    )
    counts = {"entries": 0, "wrong": 0, "kept": 0}
    for turn in ("found", "kept"):
        for number, right in enumerate(arrays):
            if turn == "kept":
                cache.put(number, 0, right)
            taken = cache.read(number, 0, np.array)
            if taken is not None:
                counts["entries" if turn == "found" else "kept"] += 1
                counts["wrong"] += int(not np.array_equal(taken, right))
    counts["bytes"] = cache.stats().memory_bytes
    return counts


def run_case(request: dict[str, Any]) -> dict[str, Any]:
    chance = random.Random(request["case"])
    folder = Path(request["folder"]) if request["folder"] else None
    case = Case(chance, request["config"], folder, told={"epochs": request["epochs"]})
    began = time.monotonic()
    there_before = laws.shared_files()
    start_ranks(case)
    meeting = Meeting(case)
    if chance.random() < 0.9:  # else: also while they come together
        while len(meeting.ready | meeting.gone) < RANKS:
            meeting.listen(time.monotonic() + 0.01)
            assert time.monotonic() - began < PATIENCE_S, "the ranks never came together"
    meeting.listen(time.monotonic() + chance.uniform(0.0, request["within_s"]))
    killed = strike(case)
    meeting.listen(time.monotonic() + PATIENCE_S)
    codes = exit_codes(case)
    left = wait_for_session(os.getpid())
    memory = case.told.get("memory")
    found = {
        "killed": killed,
        "codes": codes,
        "said": meeting.said,
        "served": sum(meeting.served.values()),
        "left": left,
        "was_ready": len(meeting.ready) == RANKS,
    }
    if memory is not None:
        found["holders"] = [pid for pid in holders_of(memory) if pid != os.getpid()]
        found |= look_into(case, memory)
    found["shm"] = laws.left_in_shared_memory(there_before, case.seen)
    found["files"] = [] if folder is None else [each.name for each in folder.iterdir()]
    found["seconds"] = time.monotonic() - began
    return found


def lead(request: dict[str, Any]) -> None:
    os.setsid()
    found: dict[str, Any] = {}
    try:
        found = run_case(request)
    finally:
        if sys.exc_info()[0] is not None:
            found = {"error": traceback.format_exc()}
        for pid in in_session(os.getpid()):
            if pid != os.getpid():
                os.kill(pid, signal.SIGKILL)
        print(json.dumps(found), flush=True)
        os._exit(0)


if __name__ == "__main__":
    torch_worker.MP_STATUS_CHECK_INTERVAL = 0.25  # how often a worker looks for its parent
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        leader = os.fork()
        if leader == 0:
            lead(asked)
        os.waitpid(leader, 0)
