"""A forecast for one machine: reads the configuration, measures what it can, does the sums.

Needs no PyTorch: samples and processes are measured by a process of its own
(`vrtspike.plan_probe`), and only where the data set is there.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vrtspike.config import Config, config_to_mapping, load_config, read_config_text
from vrtspike.data.loading_need import StepTime
from vrtspike.engine.earlier_steps import Where, earlier_step_time
from vrtspike.measured_costs import MeasuredCosts, costs_from_probe
from vrtspike.memory_demand import Machine, memory_demand
from vrtspike.start_check import check_start
from vrtspike.step_settings import decisive_settings
from vrtspike.yaml_edit import edited_config

DEFAULT_SAMPLES = 8
PROBE_TIMEOUT_S = 120.0
_MAX_PROBE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What to forecast: a configuration with overrides, where it would run, what may be measured.

    `samples` of the real data are timed, none if it is 0; `step_ms` stands for an earlier run's.
    `said` are the options that a command for the same forecast has to repeat.
    """

    config_path: Path
    overrides: tuple[str, ...]
    machine: Machine
    profiles_dir: Path
    samples: int = DEFAULT_SAMPLES
    step_ms: float | None = None
    said: tuple[str, ...] = ()


def request_from(options: Any, machine: Any) -> PlanRequest:
    """What a command line asks for: parsed arguments, and the machine as the tools see it."""
    where = Machine(
        device=machine.device,
        ranks=options.ranks or max(1, len(machine.gpus.gpus)),
        cores=machine.capacity.cores or 1,
        machines=options.nodes,
        gpus=len(machine.gpus.gpus),
    )
    return PlanRequest(
        config_path=options.config,
        overrides=tuple(options.overrides),
        machine=where,
        profiles_dir=options.profiles_dir,
        samples=options.samples,
        step_ms=options.step_ms,
        said=tuple(_said(options)),
    )


def _said(options: Any) -> Iterator[str]:
    if options.ranks is not None:
        yield from ("--ranks", str(options.ranks))
    if options.nodes != 1:
        yield from ("--nodes", str(options.nodes))
    if options.step_ms is not None:
        yield from ("--step-ms", f"{options.step_ms:g}")
    if options.samples != DEFAULT_SAMPLES:
        yield from ("--samples", str(options.samples))


class Planner:
    """Forecasts a configuration and what becomes of it by changes; measures only once."""

    def __init__(self, request: PlanRequest) -> None:
        self._request = request
        self._known: MeasuredCosts | None = None

    def demand(self, changes: Sequence[str] = ()) -> dict[str, Any]:
        """What the run asks of the machine once the changes (`KEY.PATH=VALUE`) are made.

        Raises:
            VRTSpikeError: as `plan_run`.
        """
        first = self._request
        before = _trainable_config(first)
        if self._known is None:
            self._known = measure(first, before)
        changed = replace(first, overrides=(*first.overrides, *changes))
        known = self._known
        if first.step_ms is None and _work(before) != _work(
            load_config(changed.config_path, changed.overrides)
        ):
            known = replace(known, step=None, step_unknown="the step would be another one")
        return plan_run(changed, known)

    def rewritten(self, changes: Sequence[str]) -> str:
        """The configuration file with overrides and changes in it, all else as it is.

        Raises:
            ConfigError: the file does not allow it.
        """
        path = self._request.config_path
        assignments = _last_of_each((*self._request.overrides, *changes))
        return edited_config(read_config_text(path), str(path), assignments)


def _work(config: Config) -> dict[str, Any]:
    return dict(decisive_settings(config_to_mapping(config)))


def _last_of_each(assignments: Sequence[str]) -> tuple[str, ...]:
    by_key = {assignment.partition("=")[0]: assignment for assignment in assignments}
    return tuple(by_key.values())


def plan_run(request: PlanRequest, known: MeasuredCosts | None = None) -> dict[str, Any]:
    """What the run asks of the machine, for the tools.

    Args:
        request: what to forecast.
        known: what was measured before for the like; by default it is measured now.

    Raises:
        ConfigError: the configuration is wrong.
        ModelError: the trainer would refuse the network, or the crop for it.
        DataError: the trainer would refuse the data set, or so many processes for it.
    """
    config = _trainable_config(request)
    named = shlex.join([str(request.config_path), *request.overrides, *request.said])
    costs = known or measure(request, config)
    return memory_demand(config, named, request.machine, costs)


def _trainable_config(request: PlanRequest) -> Config:
    """The configuration, if the trainer takes it: what cannot start fits nowhere."""
    config = load_config(request.config_path, request.overrides)
    check_start(config, request.machine)
    return config


def measure(request: PlanRequest, config: Config) -> MeasuredCosts:
    """Step time and, where the data set is there, samples and processes."""
    step, step_unknown = _step_time(request, config)
    found: Mapping[str, Any] = {"problem": "no sample was to be timed"}
    if request.samples and not Path(config.data.root).exists():
        found = {"problem": f"no sample could be timed: {config.data.root} is not there"}
    elif request.samples:
        found = _probe(request)
    device = request.machine.device
    try:
        sizes, cost, cost_unknown = costs_from_probe(found, device)
    except (KeyError, TypeError, ValueError):
        sizes, cost, cost_unknown = None, None, "what the timing of samples wrote is damaged"
    return MeasuredCosts(
        sizes=sizes,
        cost=cost,
        cost_unknown=cost_unknown,
        step=step,
        step_unknown=step_unknown,
    )


def _step_time(request: PlanRequest, config: Config) -> tuple[StepTime | None, str]:
    if request.step_ms is not None:
        return StepTime(ms=request.step_ms, source="--step-ms"), ""
    machine = request.machine
    where = Where(device=machine.device, ranks=machine.ranks * machine.machines)
    return earlier_step_time(request.profiles_dir, config_to_mapping(config), where)


def _probe(request: PlanRequest) -> Mapping[str, Any]:
    """What the probe found, or `problem`; it has its own process, threads and time limit."""
    home = str(Path(__file__).resolve().parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryDirectory(prefix="vrtspike-plan-") as folder:
        out = Path(folder) / "plan.json"
        command = [sys.executable, "-m", "vrtspike.plan_probe"]
        command += ["--config", str(request.config_path), "--out", str(out)]
        command += ["--samples", str(request.samples), "--device", request.machine.device]
        stderr = b""
        try:
            ended = subprocess.run(
                [*command, *request.overrides],
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PROBE_TIMEOUT_S,
                check=False,
            )
            stderr = ended.stderr
            with out.open("rb") as file:
                found = json.loads(file.read(_MAX_PROBE_BYTES))
        except subprocess.TimeoutExpired:
            return {"problem": f"samples were not timed within {PROBE_TIMEOUT_S:.0f} s"}
        except (OSError, ValueError):
            return {"problem": f"samples could not be timed: {_last_line(stderr)}"}
    return found if isinstance(found, dict) else {"problem": "the timing of samples wrote nothing"}


def _last_line(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "the process ended without a word"
