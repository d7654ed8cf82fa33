#!/usr/bin/env python3
"""Says how much memory there is, who holds it, and whether a run will fit before it starts."""

import sys
from collections.abc import Sequence
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
    from diagnostics import memory_diagnosis, memory_rewrite, memory_watch
    from diagnostics.analyses.memory_demand import demand_from_mapping
    from diagnostics.report import memory_build, memory_publish
    from vrtspike.errors import VRTSpikeError
    from vrtspike.run_plan import Planner, request_from

    target = None
    if options.write_config is not None:
        target = memory_rewrite.Target(options.write_config, options.overwrite)
        memory_rewrite.check_target(target)
    watched = memory_watch.watch_if_asked(options)
    machine = memory_diagnosis.view_machine(options.pid, profiles_dir=options.profiles_dir)
    run = memory_diagnosis.view_run(options.paths, options.profiles_dir, forecast_of=options.config)
    planner = None if options.config is None else Planner(request_from(options, machine))

    def report_with(changes: Sequence[str] = ()) -> Any:
        demand = None if planner is None else demand_from_mapping(planner.demand(changes))
        return memory_build.build_memory_report(machine, run, demand, watched)

    try:
        report = report_with()
        if planner is not None and target is not None:
            report = memory_rewrite.rewrite(report, target, report_with, planner.rewritten)
    except VRTSpikeError as error:
        raise DiagnosticsError(str(error)) from None
    return memory_publish.publish(report, options, PROGRAM)


run = partial(run_tool, PROGRAM, main)
"""The command `diagnose-memory` of an installed package."""

if __name__ == "__main__":
    sys.exit(run())
