"""How near does the plan table come? Small variants of the four plans, each run and predicted.

    python benchmarks/plan_table.py [--data data/sample] [--steps 4] [--rounds 3] [--channels 8]

Each plan keeps its depths, its batch and the ratio of its crop; windows are halved, accumulation,
channels and clip are small, so that a CPU does a step in seconds. Rounds are interleaved, so that a
machine that slows down slows all plans; of each plan the run with the fastest steps counts. Times
are processor time of the training thread: other programs on the machine change them little.
Every plan is then predicted from the run of every other one.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from diagnostics.analyses.plan_table import PlanRow, predict_plans
from diagnostics.analyses.plan_work import work_from_mapping
from diagnostics.analyses.step_breakdown import compute_step_breakdown
from diagnostics.load import load_run
from diagnostics.plan_runs import measured_plans
from vrtspike.memory_demand import Machine
from vrtspike.plan_demand import load_plans, plan_demand

BY_PROCESSOR_TIME = (
    "import sys, time; time.perf_counter_ns = time.thread_time_ns; "
    "from vrtspike.train import main; sys.exit(main(sys.argv[1:]))"
)
"""The trainer with a clock that stands still while another program has the core."""

PLANS = ("baseline", "opt", "fast", "lowmem")
ACCUMULATION = {"baseline": 2, "opt": 2, "fast": 2, "lowmem": 1}
CROPS = {"baseline": 64, "opt": 64, "fast": 40, "lowmem": 64}
WINDOWS = {"baseline": 4, "opt": 3, "fast": 3, "lowmem": 3}


def main() -> None:
    """Run, predict, print both as Markdown."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/sample"))
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--channels", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_plans(folder / "plans", options)
        for part in range(options.rounds):
            for plan in PLANS:
                train(folder, plan, f"round{part}")
        report(folder)


def write_plans(folder: Path, options: argparse.Namespace) -> None:
    """Small variants of the plans; the first of a run's steps is left out of statistics."""
    folder.mkdir()
    channels = options.channels
    for plan in PLANS:
        path = Path("configs/deblur") / f"vrt_spike_{plan}.yaml"
        body = yaml.safe_load(path.read_text("utf-8"))
        data, model, train_part = body["DATA"], body["MODEL"], body["TRAIN"]
        data.pop("TRAIN_CROP_SIZE", None)
        data |= {"ROOT": str(options.data.resolve()), "CLIP_LEN": 3, "K": 8}
        data |= {"CROP_SIZE": CROPS[plan], "VAL_CROP_SIZE": 64, "USE_RAM_CACHE": False}
        model["WINDOW_SIZE"] = WINDOWS[plan]
        model |= {"CHANNELS_PER_SCALE": [channels] * 4, "NUM_HEADS": 4, "DEFORM_GROUPS": 4}
        train_part.pop("EPOCHS")
        train_part |= {"TOTAL_STEPS": options.steps + 1}
        train_part["GRADIENT_ACCUMULATION_STEPS"] = ACCUMULATION[plan]
        body["DATALOADER"] |= {"TOTAL_WORKERS": 1}
        body["LOG"] = {"VAL_EVERY_STEPS": 10_000, "CHECKPOINT_EVERY_STEPS": 10_000}
        (folder / f"{plan}.yaml").write_text(yaml.safe_dump(body), "utf-8")


def train(folder: Path, plan: str, part: str) -> None:
    """One run in a process of its own with one thread, into the folder of its round."""
    command = [
        sys.executable, "-c", BY_PROCESSOR_TIME, "--config", str(folder / f"plans/{plan}.yaml"),
        "--device", "cpu", f"LOG.SAVE_DIR={folder / part}",
        f"LOG.PROFILES_DIR={folder / part / 'profiles'}",
    ]  # fmt: skip
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def report(folder: Path) -> None:
    """Every plan, predicted from the run of every other, with the runs of the quietest rounds."""
    keep_quietest(folder)
    print("| plan | from | predicted ms | between | measured ms | off | memory GiB | measured |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for source, row in predictions(folder / "plans", folder / "quietest"):
        print(f"| {row.name} | {source} | {line_of(row)} |")
        rows.append(row)
    inside = sum(is_inside(row) for row in rows)
    sizes = sorted(abs(row.error_share or 0.0) for row in rows)
    print(
        f"\nMedian error {sizes[len(sizes) // 2]:.1%}, largest {sizes[-1]:.1%}; "
        f"{inside} of {len(rows)} inside their interval."
    )


def keep_quietest(folder: Path) -> None:
    """Of each plan the run with the fastest steps: what others do on the machine only adds time."""
    machine = Machine(device="cpu", ranks=1, cores=os.cpu_count() or 1)
    plans = load_plans(folder / "plans")
    work = work_from_mapping(plan_demand(plans["baseline"], plans, machine))
    found: dict[str, list[tuple[float, Path]]] = {}
    for below in sorted(folder.glob("round*/profiles")):
        device = load_run([next(below.glob("train_*"))]).info.device
        for name, plan in measured_plans(below, work.plans, device).items():
            found.setdefault(name, []).append((plan.step_ms, below / str(plan.run_id)))
    (folder / "quietest").mkdir(exist_ok=True)
    for name, runs in found.items():
        print(f"{name}: {', '.join(f'{ms:.0f}' for ms, _ in runs)} ms", file=sys.stderr)
        path = min(runs)[1]
        shutil.copytree(path, folder / "quietest" / path.name)


def predictions(plans_folder: Path, below: Path) -> Iterator[tuple[str, PlanRow]]:
    """Source and row of each prediction whose source is another plan."""
    machine = Machine(device="cpu", ranks=1, cores=os.cpu_count() or 1)
    plans = load_plans(plans_folder)
    device = load_run([next(below.glob("train_*"))]).info.device
    for source, config in plans.items():
        work = work_from_mapping(plan_demand(config, plans, machine))
        measured = measured_plans(below, work.plans, device)
        run = load_run([below / str(measured[source].run_id)])
        table = predict_plans(compute_step_breakdown(run), work, measured)
        print(f"{source}: FLOPs, bytes, layers {table.mixture}", file=sys.stderr)
        yield from ((source, row) for row in table.rows if row.name != source)


def is_inside(row: PlanRow) -> bool:
    """Whether the measured step lies in the predicted interval."""
    if row.step_ms is None or row.measured is None:
        return False
    return row.step_ms.low <= row.measured.step_ms <= row.step_ms.high


def line_of(row: PlanRow) -> str:
    """The cells behind plan and source."""
    step, measured = row.step_ms, row.measured
    if step is None or measured is None:
        return "- | - | - | - | - | -"
    memory = (measured.memory_bytes or 0) / 2**30
    return (
        f"{step.mid:.0f} | {step.low:.0f} to {step.high:.0f} | {measured.step_ms:.0f} | "
        f"{row.error_share:+.1%} | {row.memory_bytes / 2**30:.2f} | {memory:.2f}"
    )


if __name__ == "__main__":
    main()
