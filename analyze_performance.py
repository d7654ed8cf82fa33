#!/usr/bin/env python3
"""Says where a training run's time goes, what is wrong with it, and what to change."""

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagnostics.command_line import ExitCode, OneLineParser, run_tool
from diagnostics.errors import DiagnosticsError
from diagnostics.performance_command_line import PROGRAM, make_parser, parse_arguments

if TYPE_CHECKING:
    from diagnostics.run import Run


def build_parser() -> OneLineParser:
    """The arguments of this tool."""
    return make_parser(str(__doc__))


def main(arguments: Sequence[str] | None = None) -> ExitCode:
    """Run the tool; the imports wait so that --help answers at once."""
    parser = build_parser()
    options = parse_arguments(parser, arguments)
    from diagnostics.report import publish

    if options.list_rules:
        return publish.list_rules()
    if options.explain is not None:
        return publish.explain_rule(options.explain, parser)
    return publish.diagnose(options, PROGRAM, _ask_trainer)


def _ask_trainer(run: "Run", folder: Path) -> Mapping[str, Any]:
    """The work of the run and of each plan in a folder, by the trainer's own arithmetic."""
    from vrtspike.config import config_from_mapping
    from vrtspike.errors import VRTSpikeError
    from vrtspike.memory_demand import Machine
    from vrtspike.plan_demand import load_plans, plan_demand

    machine = Machine(
        device="cuda" if run.info.device.get("type") == "cuda" else "cpu",
        ranks=run.info.world_size or 1,
        cores=os.cpu_count() or 1,
    )
    try:
        own = config_from_mapping(run.info.config, str(run.info.run_id))
        return plan_demand(own, load_plans(folder), machine)
    except VRTSpikeError as error:
        raise DiagnosticsError(str(error)) from None


run = partial(run_tool, PROGRAM, main)
"""The command `analyze-performance` of an installed package."""

if __name__ == "__main__":
    sys.exit(run())
