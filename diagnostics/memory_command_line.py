"""The arguments of `diagnose_memory.py`; cheap to import, so that `--help` answers at once."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from diagnostics.command_line import (
    STDOUT,
    OneLineParser,
    positive_number,
    shared_parser,
    whole_number,
)
from diagnostics.language import say
from diagnostics.output_files import check_outputs

PROGRAM = "diagnose_memory.py"
_EPILOG = """\
KEY.PATH=VALUE changes a value of --config, such as TRAIN.BATCH_SIZE=2.

exit codes:
  0  read; with --config: it fits; no finding at or above --fail-on
  1  with --config: it does not fit; or a finding at or above --fail-on
  2  bad arguments, or an input could not be read (what could be read is still reported)
  3  with --config: the machine tells too little to judge
"""
_LEAST_INTERVAL_S, _MOST_INTERVAL_S = 0.2, 3600.0
MAX_SAMPLES, MAX_RANKS, MAX_NODES = 1000, 1024, 65536
_SETTING = re.compile(r"[A-Z][A-Z0-9_.]*=")


def parse_arguments(parser: OneLineParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, with `overrides` apart from `paths`; wrong ones end the program."""
    options = parser.parse_intermixed_args(arguments)
    options.overrides = [str(path) for path in options.paths if _SETTING.match(str(path))]
    options.paths = [path for path in options.paths if not _SETTING.match(str(path))]
    asked = options.overrides or options.ranks or options.nodes > 1 or options.step_ms
    if options.config is None and (asked or options.write_config):
        parser.error(
            "KEY.PATH=VALUE, --ranks, --nodes, --step-ms and --write-config belong to a forecast: "
            "give --config FILE"
        )
    check_outputs(parser, options)
    if options.json == STDOUT and is_printed(options.write_config):
        parser.error("--json - and --write-config - would both be printed; give one of them a name")
    if options.watch and options.config is not None:
        parser.error("--watch shows a training that runs, --config forecasts one: give one of them")
    return options


def is_printed(path: Path | None) -> bool:
    """Whether a file that is to be written goes to standard output instead."""
    return path is not None and str(path) == STDOUT


def make_parser(description: str) -> OneLineParser:
    """The parser of this tool."""
    parser = shared_parser(PROGRAM, description, _EPILOG)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="forecast the run of this configuration"
    )
    parser.add_argument(
        "--ranks",
        type=_ranks,
        metavar="N",
        help="forecast N training processes on this machine (default: one for each GPU)",
    )
    parser.add_argument(
        "--nodes",
        type=_nodes,
        metavar="M",
        default=1,
        help="forecast a run on M machines like this one (default: 1)",
    )
    parser.add_argument(
        "--step-ms",
        type=positive_number,
        metavar="MS",
        help="how long a step takes without its wait for data (default: the newest run's)",
    )
    parser.add_argument(
        "--samples",
        type=_count,
        metavar="N",
        default=8,
        help="time N samples of the real data for the forecast; 0: none (default: 8)",
    )
    parser.add_argument(
        "--write-config",
        type=Path,
        metavar="NEW",
        help="write the configuration with all changes that make it fit, comments and order kept; "
        "'-' prints it, and the report on standard error",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="let --write-config replace a file"
    )
    parser.add_argument(
        "--pid", type=_pid, metavar="N", help="show the training that process N belongs to"
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="show the training that runs again and again, until it ends or Ctrl-C",
    )
    parser.add_argument(
        "--interval",
        type=_seconds,
        default=2.0,
        metavar="SECONDS",
        help="time between two readings of --watch (default: 2)",
    )
    return parser


def _seconds(text: str) -> float:
    value = positive_number(text)
    if not _LEAST_INTERVAL_S <= value <= _MOST_INTERVAL_S:
        raise argparse.ArgumentTypeError(
            say(
                "needs {least:g} to {most:g} seconds, got {text!r}",
                least=_LEAST_INTERVAL_S,
                most=_MOST_INTERVAL_S,
                text=text,
            )
        )
    return value


def _ranks(text: str) -> int:
    return whole_number(text, 1, MAX_RANKS)


def _nodes(text: str) -> int:
    return whole_number(text, 1, MAX_NODES)


def _pid(text: str) -> int:
    return whole_number(text, 1, (1 << 31) - 1)


def _count(text: str) -> int:
    return whole_number(text, 0, MAX_SAMPLES)
