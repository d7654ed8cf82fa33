"""Reads this machine and the newest run: the part of `diagnose_memory.py` that opens files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from diagnostics.analyses.launch import launch_of
from diagnostics.analyses.machine_capacity import capacity
from diagnostics.analyses.machine_jobs import Job, build_job, find_job_roots, tree
from diagnostics.analyses.oom_counters import last_of_rank_0
from diagnostics.errors import DiagnosticsError
from diagnostics.language import say
from diagnostics.load import load_run
from diagnostics.parsers.machine import HostSources, read_host
from diagnostics.parsers.machine_gpus import read_gpus
from diagnostics.parsers.machine_processes import list_processes, read_processes
from diagnostics.parsers.run_aftermath import AftermathSources, read_aftermath
from diagnostics.parsers.running_runs import running_pids
from diagnostics.printable import printable
from diagnostics.report.build import build_report
from diagnostics.report.memory_model import MachineView, RunView
from diagnostics.run import Input, Run
from diagnostics.snapshot_inputs import SnapshotInputs


def view_machine(
    pid: int | None = None,
    sources: HostSources | None = None,
    nvml: Any | None = None,
    profiles_dir: Path | None = None,
) -> MachineView:
    """This machine now, with every training job on it, or with the one that `pid` belongs to.

    A training of another program than ours is known by its run, if that lies in `profiles_dir`.

    Raises:
        DiagnosticsError: there is no process `pid`.
    """
    sources = sources or HostSources()
    host = read_host(sources)
    return MachineView(
        host=host,
        capacity=capacity(host),
        gpus=read_gpus(nvml),
        jobs=_jobs(pid, sources.root, profiles_dir),
    )


def _jobs(pid: int | None, root: Path, profiles_dir: Path | None) -> tuple[Job, ...]:
    entries = list_processes(root)
    recorded = running_pids(profiles_dir) if profiles_dir is not None else frozenset()
    trees = {each: tree(each, entries) for each in find_job_roots(entries, recorded)}
    if pid is not None:
        if pid not in {entry.pid for entry in entries}:
            raise DiagnosticsError(say("--pid {pid}: no such process on this machine", pid=pid))
        mine = {each: pids for each, pids in trees.items() if pid in pids}
        trees = mine or {pid: tree(pid, entries)}
    jobs = (
        build_job(each, read_processes([e for e in entries if e.pid in pids], root))
        for each, pids in trees.items()
    )
    return tuple(job for job in jobs if job.members)  # the others ended while they were read


def view_run(
    paths: Sequence[Path],
    profiles_dir: Path,
    sources: AftermathSources | None = None,
    *,
    forecast_of: Path | None = None,
) -> RunView:
    """The run of the paths, or the newest one; that there is none is no error.

    A path that cannot be read is an input that failed; the machine can be shown all the same. Of a
    run that ended without a word this machine is asked what became of it. Beside a forecast the
    newest run is shown only if it is not known to be of another configuration.
    """
    given = SnapshotInputs.of(paths)
    if given.paths and not given.others:
        return RunView(
            report=None,
            absent_reason="only a memory snapshot was given",
            inputs=given.inputs,
            snapshots=given.views(),
        )
    try:
        run = load_run(given.others, profiles_dir)
        if not paths and forecast_of is not None and (other := _other(run, forecast_of)):
            return RunView(report=None, absent_reason=other, inputs=())
        aftermath = read_aftermath(run.info, last_of_rank_0(run), sources)
        report = build_report(replace(run, aftermath=aftermath))
    except DiagnosticsError as error:
        failed = tuple(
            Input(path=path, kind="unknown", status="failed", notes=(str(error),))
            for path in given.others[:1]
        )
        return RunView(
            report=None,
            absent_reason=str(error),
            inputs=(*failed, *given.inputs),
            snapshots=given.views(),
        )
    given.follow(run)
    return RunView(
        report=report,
        absent_reason=None,
        inputs=(*report.inputs, *given.inputs),
        snapshots=given.views(run),
    )


def _other(run: Run, config: Path) -> str | None:
    """That the run was of another file than `config`; by name, as folders may have moved."""
    launch = launch_of(run.info.argv)
    if launch is None or PurePath(launch.config).name == config.name:
        return None
    return say(
        "the newest run was of another configuration, {config}; name its folder to see it here",
        config=printable(launch.config),
    )
