"""One made-up run, written as a facts folder and as a text log: the same numbers both ways.

The files are written from the description in docs/records.md, not with the trainer's code, so that
a change of either side shows.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diagnostics import tables as declared
from diagnostics.run import FACTS, Evidence, Run, RunInfo, RunTables

PHASES = ("data_wait", "h2d", "forward", "loss", "backward", "optimizer", "other")
RUN_ID = "train_20260102_030405_abcd"
START_UNIX_S = 1_767_322_800.0


@dataclass(frozen=True, kw_only=True)
class MadeStep:
    """One step of one rank; `stages` sum to the forward, `phases` to the step."""

    step: int
    phases: Mapping[str, float]
    stages: Mapping[str, float]
    tags: tuple[str, ...] = ()
    samples: int = 2

    @property
    def ms(self) -> float:
        return sum(self.phases.values())


@dataclass(frozen=True, kw_only=True)
class MadeRun:
    """Steps by rank. `clock` "device" also gives every step device times, 1 ms shorter waits."""

    ranks: Sequence[Sequence[MadeStep]]
    clock: str = "host"
    run_id: str = RUN_ID
    started_at: str = "2026-01-02T03:04:05+00:00"
    validations: Sequence[int] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


def make_step(step: int, scale: float = 1.0, tags: tuple[str, ...] = ()) -> MadeStep:
    """A step of 36 ms times `scale` with three stages in its forward of 10 ms."""
    phases = dict(zip(PHASES, (1.0, 0.5, 10.0, 1.0, 20.0, 2.5, 1.0), strict=True))
    stages = {"flow": 3.5, "vrt.stage1": 6.0, "forward.other": 0.5}
    return MadeStep(
        step=step,
        phases={name: ms * scale for name, ms in phases.items()},
        stages={name: ms * scale for name, ms in stages.items()},
        tags=tags,
    )


def make_run(num_steps: int = 20, num_ranks: int = 1, seed: int = 0, **changes: Any) -> MadeRun:
    """A run of noisy steps, the first of them slow and tagged."""
    generator = np.random.default_rng(seed)
    ranks = [
        [make_step(1, 20.0, ("first",))]
        + [make_step(step, generator.uniform(0.8, 1.6)) for step in range(2, num_steps + 1)]
        for _ in range(num_ranks)
    ]
    return MadeRun(ranks=ranks, **changes)


# Facts -----------------------------------------------------------------------------------------


def step_lines(run: MadeRun, rank: int) -> list[str]:
    """The lines of steps.rankN.jsonl."""
    lines, start_s = [], START_UNIX_S
    for step in run.ranks[rank]:
        lines.append(
            _line(
                kind="step",
                step=step.step,
                start_unix_s=start_s,
                micro_batches=1,
                samples=step.samples,
                clock=run.clock,
                host_ms={**step.phases, "step": step.ms},
                device_ms=_device_ms(step) if run.clock == "device" else None,
                tags=step.tags,
                loss=0.5 / step.step,
                lr=1e-4,
                memory={"process_rss_bytes": 10**9 + 10**6 * step.step},
            )
        )
        start_s += step.ms / 1000
    return lines


def _device_ms(step: MadeStep) -> dict[str, float]:
    phases = {**step.phases, "data_wait": max(0.0, step.phases["data_wait"] - 1)}
    return {**phases, "step": sum(phases.values())}


def stage_lines(run: MadeRun, rank: int) -> list[str]:
    """The lines of spans.rankN.jsonl."""
    lines = [
        _line(
            kind="stages",
            step=step.step,
            phase="forward",
            clock=run.clock,
            ms=step.stages,
            calls={name: 1 for name in step.stages if name != "forward.other"},
        )
        for step in run.ranks[rank]
    ]
    values = {"psnr_rgb_db": 28.5, "psnr_y_db": 30.0, "ssim_y": 0.87, "input_psnr_rgb_db": 27.2}
    lines.extend(
        _line(
            kind="span",
            name="validation",
            step=step,
            start_unix_s=START_UNIX_S,
            host_ms=500.0,
            values=values,
        )
        for step in run.validations
    )
    return lines


def resource_line(at_unix_s: float, rss: Sequence[int], **host: Any) -> str:
    """A line of resources.<host>.jsonl; one worker process for each size."""
    processes = [
        {"pid": 100 + place, "role": "worker", "name": "python", "rss_bytes": size}
        for place, size in enumerate(rss)
    ]
    load = {"ram_total_bytes": 10**11, "ram_available_bytes": 6 * 10**10, "ram_percent": 40.0}
    return _line(
        kind="resources",
        at_unix_s=at_unix_s,
        host={**load, **host},
        processes=processes,
        gpus=None,
        gpus_absent_reason="no NVIDIA GPU",
    )


def write_meta(folder: Path, run: MadeRun, **changes: Any) -> None:
    """meta.json."""
    body = {
        "schema": 1,
        "kind": "run",
        "run_id": run.run_id,
        "started_at": run.started_at,
        "status": "finished",
        "clock": run.clock,
        "world_size": len(run.ranks),
        "phases": PHASES,
        "stages": ("flow", "vrt.stage1"),
        "config": {"TRAIN": {"BATCH_SIZE": 2}},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.json").write_text(json.dumps({**body, **run.meta, **changes}))


def write_facts(folder: Path, run: MadeRun) -> Path:
    """The facts folder of the run."""
    write_meta(folder, run)
    for rank in range(len(run.ranks)):
        write_lines(folder / f"steps.rank{rank}.jsonl", step_lines(run, rank))
        write_lines(folder / f"spans.rank{rank}.jsonl", stage_lines(run, rank))
    return folder


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """A file of lines, each with its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def _line(**body: Any) -> str:
    return json.dumps({"schema": 1, **body})


# Text log --------------------------------------------------------------------------------------


def log_lines(run: MadeRun, every: int = 1, facts: str | None = None) -> list[str]:
    """The lines of rank 0's text log, with a step and a stage line at every `every`th step."""
    lines = [f"[run] id={run.run_id} schema=1 facts={facts or 'nowhere'} clock={run.clock}"]
    window: list[MadeStep] = []
    last = run.ranks[0][-1].step
    for step in run.ranks[0]:
        window.append(step)
        if step.step % every == 0 or step.step == last:
            lines += _window_lines(run, window)
            window = []
        if step.step in run.validations:
            quality = "PSNR_RGB=28.50 PSNR_Y=30.00 SSIM_Y=0.8700 | input PSNR_RGB=27.20"
            lines.append(f"[val] step {step.step} | {quality}")
    lines.append(f"[end] finished | steps={last} | elapsed=0:00:10")
    return lines


def _window_lines(run: MadeRun, window: Sequence[MadeStep]) -> list[str]:
    steps = [step for step in window if not step.tags] or list(window)
    number, total = window[-1].step, run.ranks[0][-1].step
    ms = float(np.mean([step.ms for step in steps]))
    wait = float(np.mean([step.phases["data_wait"] for step in steps]))
    samples_per_s = 1000 * len(run.ranks) * steps[0].samples / ms
    by_clock = [_device_ms(s) if run.clock == "device" else s.phases for s in steps]
    phases = _means(by_clock, PHASES)
    stages = _means([step.stages for step in steps], steps[0].stages)
    return [
        f"step {number}/{total} | loss={0.5 / number:.4f} charb=0.0100 lr=1.00e-04 | "
        f"{samples_per_s:.1f} samples/s | data_time={wait:.1f}ms step_time={ms:.1f}ms",
        f"stages {number}/{total} | clock={run.clock} | {phases} | {stages}",
    ]


def _means(steps: Sequence[Mapping[str, float]], names: Iterable[str]) -> str:
    return " ".join(f"{name}={np.mean([each[name] for each in steps]):.1f}ms" for name in names)


# Tables ----------------------------------------------------------------------------------------


def run_of(evidence: Evidence = FACTS, info: RunInfo | None = None, **tables: Any) -> Run:
    """A run of the given tables, for analyses that need no file."""
    return Run(inputs=(), info=info or RunInfo(), evidence=evidence, tables=RunTables(**tables))


def phase_rows(
    rows: Iterable[tuple[int, int, str, float]], clock: str = "host", tagged: Iterable[int] = ()
) -> pd.DataFrame:
    """The table `phases` of (rank, step, name, ms)."""
    left_out = set(tagged)
    return declared.PHASES.from_rows(
        [(rank, step, name, clock, ms, 1, step in left_out) for rank, step, name, ms in rows]
    )
