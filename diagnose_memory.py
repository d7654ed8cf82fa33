#!/usr/bin/env python3
"""Says how much memory there is, who holds it, and whether a run will fit before it starts."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from diagnostics.command_line import ExitCode, OneLineParser, run_tool
from diagnostics.errors import DiagnosticsError
from diagnostics.memory_command_line import PROGRAM, make_parser, parse_arguments


def build_parser() -> OneLineParser:
    """The arguments of this tool."""
    return make_parser(str(__doc__))


def main(arguments: Sequence[str] | None = None) -> ExitCode:
    """Run the tool; the imports wait so that --help answers at once."""
    options = parse_arguments(build_parser(), arguments)
    from diagnostics import memory_diagnosis, memory_watch
    from diagnostics.analyses.memory_demand import demand_from_mapping
    from diagnostics.report import memory_build, memory_publish

    watched = memory_watch.watch_if_asked(options)
    machine = memory_diagnosis.view_machine(options.pid, profiles_dir=options.profiles_dir)
    demand = None
    if options.config is not None:
        demand = demand_from_mapping(_ask_trainer(options, machine))
    run = memory_diagnosis.view_run(options.paths, options.profiles_dir)
    report = memory_build.build_memory_report(machine, run, demand, watched)
    return memory_publish.publish(report, options, PROGRAM)


def _ask_trainer(options: argparse.Namespace, machine: Any) -> Mapping[str, Any]:
    """What the configuration asks of this machine, by the trainer's own arithmetic."""
    from vrtspike.errors import VRTSpikeError
    from vrtspike.run_plan import plan_run, request_from

    try:
        return plan_run(request_from(options, machine))
    except VRTSpikeError as error:
        raise DiagnosticsError(str(error)) from None


run = partial(run_tool, PROGRAM, main)
"""The command `diagnose-memory` of an installed package."""

if __name__ == "__main__":
    sys.exit(run())
