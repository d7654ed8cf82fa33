"""One run from its configuration to its exit code: opens and closes what it writes."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import torch

from vrtspike.config import Config, config_to_mapping, load_config
from vrtspike.data.loading_faults import LoadingDiedError, LoadingFaultError, explain_fault
from vrtspike.data.reading_board import all_reports
from vrtspike.engine.distributed import World, join_world
from vrtspike.engine.interrupts import StopRequest, let_children_die
from vrtspike.engine.lost_ranks import explain_lost_rank
from vrtspike.engine.memory_facts import stage_tensors
from vrtspike.engine.preparation import OpenRun, prepare
from vrtspike.engine.rank_facts import place_of, watched
from vrtspike.engine.resume import (
    Found,
    check_same_model,
    find_resume,
    nothing_to_do,
    read_found,
)
from vrtspike.engine.trainer import Trainer
from vrtspike.errors import VRTSpikeError
from vrtspike.profiling.environment import describe_device, versions
from vrtspike.profiling.loader_facts import LoaderFacts
from vrtspike.profiling.log_lines import end_line
from vrtspike.profiling.log_name import claim_log
from vrtspike.profiling.memory import read_memory_figures
from vrtspike.profiling.parts import RecorderPart
from vrtspike.profiling.rank_facts import RankFacts
from vrtspike.profiling.recorder import EndStatus, Recorder
from vrtspike.profiling.recording import RecordingPlan
from vrtspike.profiling.records import RunRecord
from vrtspike.profiling.run_folder import RunPaths, new_run_id, open_run, prune_runs, run_paths
from vrtspike.profiling.run_log import RunLog
from vrtspike.profiling.step_lines import StepLines
from vrtspike.profiling.tensorboard_scalars import TensorboardScalars


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What the command line asked for; `resume` is `auto`, a path, or None."""

    config_path: Path
    overrides: tuple[str, ...] = ()
    device: str = "auto"
    profile: bool = False
    profile_steps: int | None = None
    resume: str | None = None
    argv: tuple[str, ...] = ()


def run_training(request: RunRequest) -> int:
    """Train as asked.

    Returns:
        0 when the schedule was completed, 130 or 143 after a signal.

    Raises:
        VRTSpikeError: anything that the user can act on.
    """
    config = load_config(request.config_path, request.overrides)
    world = join_world(request.device, timeout_s=config.train.collective_timeout_s)
    code = Session(request, config, world).run()
    world.leave()
    return code


class Session:
    """One rank of one run."""

    def __init__(self, request: RunRequest, config: Config, world: World) -> None:
        self._request = request
        self._config = config
        self._mapping = config_to_mapping(config)
        self._world = watched(world)
        self._place = place_of(world)
        self._stop = StopRequest()
        self._began_s = time.monotonic()
        self._log: RunLog | None = None
        self._lines: StepLines | None = None
        self._loading = LoaderFacts(world.device)
        self._trainer: Trainer | None = None

    def run(self) -> int:
        """The whole run; returns the exit code."""
        now = datetime.now().astimezone()
        run_id = self._world.share(new_run_id(now))
        notes: list[str] = []
        found = self._find_resume(notes.append)
        if found is not None and (line := nothing_to_do(found, self._config.train)) is not None:
            self._print(line)
            return 0
        run, paths = self._describe(run_id, now, found)
        self._open_log(run, paths)
        for note in notes:
            self._say(note)
        with self._ending(), self._recorder(run, paths) as recorder, _failure_recorded(recorder):
            ranks = RankFacts(self._place, self._world.device, run.host, recorder.event)
            with self._memory_explained(recorder), self._ranks_explained(recorder):
                ranks.start()
                self._trainer = prepare(self._open_run(run_id, paths, recorder, found))
            with (
                self._stop.listening(),
                self._memory_explained(recorder),
                self._ranks_explained(recorder),
            ):
                completed = self._trainer.run()
                let_children_die()  # a loading process that dies now can spoil no more than the end
                ranks.end()
            recorder.finish("finished" if completed else "interrupted")
        return 0 if completed else self._stop.exit_code

    def _print(self, line: str) -> None:
        """For what ends before there is a run, and with it a log."""
        if self._world.is_main:
            print(line)

    def _find_resume(self, say: Callable[[str], None]) -> Found | None:
        """Rank 0 chooses the file, so that all ranks continue from the same one."""
        folder = run_paths("train", self._config.log, Path()).checkpoint_dir.parent
        chosen = None
        if self._world.is_main:
            chosen = find_resume(self._request.resume, self._config.train, folder, say)
        path = self._world.share(None if chosen is None else chosen.path)
        if path is None:
            return None
        found = chosen or read_found(path)
        check_same_model(found, self._mapping)
        return found

    def _describe(
        self, run_id: str, now: datetime, found: Found | None
    ) -> tuple[RunRecord, RunPaths]:
        train, world = self._config.train, self._world
        run, paths = open_run(
            run_id,
            self._config.log,
            now=now,
            base=Path(),
            config=self._mapping,
            argv=self._request.argv,
            world_size=world.size,
            device=describe_device(world.device),
            versions=versions(),
            clock="device" if world.device.type == "cuda" else "host",
            resumed_from=None if found is None else found.checkpoint.run_id,
            first_step=1 if found is None else found.checkpoint.position.step + 1,
            samples_per_step=train.batch_size * world.size * train.gradient_accumulation_steps,
        )
        return claim_log(run, paths) if world.is_main else (run, paths)

    def _open_log(self, run: RunRecord, paths: RunPaths) -> None:
        """The text log of rank 0; the other ranks say nothing."""
        if not self._world.is_main:
            return
        self._log = RunLog(paths.log, sys.stdout)
        self._log.begin(run, paths.facts_dir)
        self._prune(paths.facts_dir)
        self._lines = StepLines(
            self._log,
            self._config.log,
            total_steps=None,
            first_step=run.first_step,
            place=self._place,
            read_memory=partial(read_memory_figures, self._world.device),
        )

    def _prune(self, facts_dir: Path) -> None:
        """Make room for this run among the older ones, and name those that are gone."""
        keep = self._config.log.keep_runs
        if keep is None:
            return
        for folder in prune_runs(facts_dir.parent, keep, facts_dir.name):
            self._say(f"[facts] LOG.KEEP_RUNS={keep}: {folder.as_posix()} is deleted")

    def _recorder(self, run: RunRecord, paths: RunPaths) -> Recorder:
        listeners: list[StepLines | TensorboardScalars] = []
        if self._lines is not None:
            listeners.append(self._lines)
            if self._config.log.tensorboard:
                every, size = self._config.log.step_every_steps, self._world.size
                scalars = TensorboardScalars(
                    paths.facts_dir, every_steps=every, world_size=size, host=run.host or "host"
                )
                listeners.append(scalars)
        plan = RecordingPlan(
            settings=self._config.profiling,
            profile=self._request.profile,
            profile_steps=self._request.profile_steps,
            parts=(self._loading, *self._watches()),
        )
        return Recorder(
            facts_dir=paths.facts_dir,
            run=run,
            plan=plan,
            device=self._world.device,
            place=self._place,
            listeners=listeners,
        )

    def _watches(self) -> tuple[RecorderPart, ...]:
        return () if self._world.watch is None else (self._world.watch,)

    def _open_run(
        self, run_id: str, paths: RunPaths, recorder: Recorder, found: Found | None
    ) -> OpenRun:
        def expect_steps(total: int) -> None:
            recorder.expect_steps(total)
            if self._lines is not None:
                self._lines.expect_steps(total)

        return OpenRun(
            config=self._config,
            mapping=self._mapping,
            world=self._world,
            run_id=run_id,
            checkpoint_dir=paths.checkpoint_dir,
            recorder=recorder,
            loading=self._loading,
            say=self._say,
            expect_steps=expect_steps,
            stop=self._stop,
            found=found,
        )

    def _say(self, line: str) -> None:
        if self._log is not None:
            self._log.line(line)

    @contextmanager
    def _memory_explained(self, recorder: Recorder) -> Iterator[None]:
        """What ran out is told with what the network would have needed it for."""
        try:
            with _memory_explained(recorder):
                yield
        except MemoryRanOutError:
            tensors = stage_tensors(self._config, self._world.device.type)
            if tensors:
                recorder.event("stage_tensors", **tensors)
            raise

    @contextmanager
    def _ranks_explained(self, recorder: Recorder) -> Iterator[None]:
        """A rank that died or hangs is one line on all the others."""
        try:
            yield
        except RuntimeError as error:
            timeout_s = self._config.train.collective_timeout_s
            if (lost := explain_lost_rank(error, timeout_s)) is None:
                raise
            recorder.event("rank_lost", reason=str(lost))
            raise lost from error

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """The last line of the log, whatever ended the run."""
        status: EndStatus = "failed"
        try:
            yield
            status = "interrupted" if self._stop.requested else "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        except VRTSpikeError as error:
            self._say(f"[error] {error}")
            raise
        finally:
            steps = 0 if self._trainer is None else self._trainer.step
            self._say(end_line(status, steps, time.monotonic() - self._began_s))
            if self._log is not None:
                self._log.close()


@contextmanager
def _memory_explained(recorder: Recorder) -> Iterator[None]:
    """Memory that ran out is a fault of the configuration: one line with the keys to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        advice = (
            "GPU memory ran out: {} Lower TRAIN.BATCH_SIZE or DATA.CROP_SIZE (for the "
            "validation DATA.VAL_CROP_SIZE), or set TRAIN.AMP_ENABLED=true or "
            "MODEL.VRT.USE_CHECKPOINT_ATTN=true and USE_CHECKPOINT_FFN=true"
        )
        raise _out_of_memory(recorder, "device", error, advice) from error
    except LoadingFaultError as error:
        _record_fault(recorder, error)
        raise
    except (RuntimeError, OSError) as error:
        if (explained := explain_fault(error, reports=all_reports())) is not None:
            _record_fault(recorder, explained)
            raise explained from error
        if "DefaultCPUAllocator" not in str(error):
            raise
        advice = (
            "host memory ran out: {} Lower TRAIN.BATCH_SIZE, DATA.CROP_SIZE, DATA.CACHE_SIZE_GB, "
            "DATALOADER.TOTAL_WORKERS or the sizes under MODEL"
        )
        raise _out_of_memory(recorder, "host", error, advice) from error


@contextmanager
def _failure_recorded(recorder: Recorder) -> Iterator[None]:
    """The line that the run ends with is a fact, too: a report must not depend on the log."""
    try:
        yield
    except VRTSpikeError as error:
        recorder.event("run_failed", reason=str(error))
        raise


def _record_fault(recorder: Recorder, error: LoadingFaultError) -> None:
    let_children_die()  # another one's signal must not break the closing of log and record
    if isinstance(error, LoadingDiedError):  # of other faults the run's end says all there is
        recorder.event("loading_process_died", signal=error.signal_name, reason=str(error))


class MemoryRanOutError(VRTSpikeError):
    """Of the host or of a device."""


def _out_of_memory(
    recorder: Recorder, where: str, error: RuntimeError | OSError, advice: str
) -> MemoryRanOutError:
    reason = str(error).splitlines()[0]
    recorder.event("out_of_memory", where=where, reason=reason, **recorder.failure_place(error))
    return MemoryRanOutError(advice.format(reason))
