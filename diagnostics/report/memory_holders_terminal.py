"""Who else holds memory: the kernel's cache, GPUs' processes, threads that pin; and who waits."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.machine_jobs import Job, Member
from diagnostics.language import listed, say
from diagnostics.machine import GpuProcess, GpuState, HostState
from diagnostics.report import units
from diagnostics.report.console import add_row, indented
from diagnostics.report.console import table as make_table

_STALLS = {
    "memory_some": "some task for memory",
    "memory_full": "all for memory",
    "io_some": "some task for a disk",
    "io_full": "all for a disk",
}
_NEVER = 0.0005  # prints as 0.0 %
MAX_GPU_PROCESSES = 12


def cache_lines(host: HostState) -> Iterator[RenderableType]:
    """The page cache, which counts as used nowhere above."""
    if host.page_cache_bytes is not None:
        of_group = (
            say(", of it the container's: {size}", size=units.size(host.cgroup_cache_bytes))
            if host.cgroup_cache_bytes is not None
            else ""
        )
        yield indented(
            say(
                "Apart from it: {size} of files that the kernel keeps and gives back on "
                "demand{of_group}; all shared memory is {shmem}.",
                size=units.size(host.page_cache_bytes),
                of_group=of_group,
                shmem=units.size(host.shmem_bytes),
            )
        )


def waiting_lines(host: HostState) -> Iterator[RenderableType]:
    """Who waits now, of the machine and of the container."""
    yield from _waiting("Waiting now, on the machine", host.stall_share)
    yield from _waiting("Waiting now, in the container", host.cgroup_stall_share)


def _waiting(where: str, shares: Mapping[str, float]) -> Iterator[RenderableType]:
    said = [
        say("{name} {share}", name=_STALLS[name], share=units.share(share))
        for name, share in shares.items()
        if name in _STALLS and share > _NEVER
    ]
    if said:
        yield indented(
            say("{where}: {said} of the last 10 s.", where=where, said=listed(said)), style="yellow"
        )


def gpu_process_lines(gpus: Sequence[GpuState], jobs: Sequence[Job]) -> Iterator[RenderableType]:
    """Memory of each GPU by process, those of the trainings by their role."""
    members = {member.process.pid: member for job in jobs for member in job.members}
    held = [(gpu, process) for gpu in gpus for process in gpu.processes or ()]
    if not held:
        return
    held.sort(key=lambda each: (each[0].index, -(each[1].used_bytes or 0)))
    rows = make_table("GPU", "process", "what it is ", "GPU memory")
    for gpu, process in held[:MAX_GPU_PROCESSES]:
        add_row(
            rows,
            str(gpu.index),
            str(process.pid),
            _what(process, members),
            units.size(process.used_bytes),
        )
    yield Padding(rows, (0, 0, 0, 2))
    if len(held) > MAX_GPU_PROCESSES:
        yield indented(
            say("and {left} more (--json has all of them)", left=len(held) - MAX_GPU_PROCESSES)
        )
    if jobs and not any(process.pid in members for _, process in held):
        yield indented(
            "None of these is a process of the training: inside a container the driver may number "
            "processes otherwise than here."
        )


def _what(process: GpuProcess, members: Mapping[int, Member]) -> str:
    member = members.get(process.pid)
    if member is None:
        return "no process of this training"
    rank = member.process.rank
    return say("{role} of rank {rank}", role=member.role, rank=rank) if rank else member.role


def pinning_lines(job: Job) -> Iterator[RenderableType]:
    """Threads that pin batches hold no memory of their own: it is that of their process."""
    for member in job.members:
        process = member.process
        if process.is_pinning:
            yield indented(
                say(
                    "process {pid} pins batches in a thread of its own; what it holds counts "
                    "there, {locked} of it locked in memory",
                    pid=process.pid,
                    locked=units.size(process.locked_bytes),
                ),
                4,
            )
