"""The torch profiler and the named ranges as a part of the recorder."""

import os
from functools import partial
from pathlib import Path

import torch

from vrtspike.counted import counted
from vrtspike.profiling.clock import Clock
from vrtspike.profiling.kineto import TraceFiles, TraceSession, plan_schedule, torch_tracer
from vrtspike.profiling.own_parts import host_part
from vrtspike.profiling.parts import NO_FIELDS, PartHost, RecorderPart, StepFields
from vrtspike.profiling.ranges import BothRanges, NoRanges, NvtxRanges, Ranges
from vrtspike.profiling.recording import RankPlace, RecordingPlan
from vrtspike.profiling.records import RunRecord


class Tracing(RecorderPart):
    """Traces a rank if the plan says so, and opens ranges under the recorder's names.

    `ranges` are those of the trace, of NVTX, of both, or none.
    """

    def __init__(
        self,
        plan: RecordingPlan,
        run: RunRecord,
        place: RankPlace,
        *,
        folder: Path,
        device: torch.device,
        clock: Clock,
    ) -> None:
        settings = plan.settings
        self._settings = settings
        self._place = place
        self._profile = plan.profile
        self._has_nvtx = settings.nvtx and device.type == "cuda"
        self._host: PartHost | None = None
        wanted = settings.ranks == "all" or place.rank in settings.ranks
        self._session = (
            TraceSession(
                TraceFiles(
                    folder=folder,
                    worker_name=f"{host_part(run)}_{os.getpid()}_rank{place.rank}",
                    run_id=run.run_id,
                    redact_host=host_part(run) if run.redacted else None,
                ),
                plan_schedule(settings, plan.profile_steps),
                first_step=run.first_step,
                new_tracer=partial(torch_tracer, settings, device),
                clock=clock,
                host=self,
            )
            if plan.profile and wanted
            else None
        )
        self._last_planned = plan_schedule(settings, plan.profile_steps).last_step(run.first_step)
        self._finished = False
        self.ranges = self._choose_ranges()

    @property
    def facts_dir(self) -> Path:
        """The run's folder of facts."""
        assert self._host is not None
        return self._host.facts_dir

    @property
    def active(self) -> bool:
        """Whether the running step is traced."""
        return self._session is not None and self._session.tracing

    @property
    def steps(self) -> tuple[int, int] | None:
        """The first and last step to be kept; at the end those that were."""
        if self._session is None:
            return None
        if self._finished:
            return self._session.kept
        return self._session.window.first_active, self._last_planned

    def start(self, host: PartHost) -> None:
        """Says what was asked for and cannot be."""
        self._host = host
        settings, place = self._settings, self._place
        if settings.nvtx and not self._has_nvtx:
            host.event("nvtx_missing", reason="PROFILING.NVTX needs a CUDA device")
        missing = (
            [] if settings.ranks == "all" else [r for r in settings.ranks if r >= place.world_size]
        )
        if self._profile and missing and place.rank == 0:
            named = ", ".join(map(str, missing))
            reason = f"no trace of rank {named}: the run has {counted(place.world_size, 'rank')}"
            host.event("profile_missing", reason=reason)

    def tag(self, tag: str) -> None:
        """Tags the running step."""
        if self._host is not None:
            self._host.tag(tag)

    def event(self, name: str, **values: float | int | str | None) -> None:
        """Writes down what became of a trace."""
        if self._host is not None:
            self._host.event(name, **values)

    def step_begins(self, step: int) -> None:
        """The step may be traced."""
        if self._session is not None:
            self._session.step_begins(step)

    def step_ends(self, step: int) -> StepFields:
        """The step may be the last of a trace."""
        if self._session is not None:
            self._session.step_ends(step)
        return NO_FIELDS

    def finish(self) -> None:
        """Writes what was traced."""
        if self._session is not None:
            self._session.finish()
        self._finished = True

    def _choose_ranges(self) -> Ranges:
        traced = self._session.ranges if self._session else None
        if self._has_nvtx:
            return NvtxRanges() if traced is None else BothRanges(traced, NvtxRanges())
        return traced or NoRanges()
