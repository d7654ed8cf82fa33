"""The arguments of `analyze_performance.py`; cheap to import, so that `--help` answers at once."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from diagnostics.command_line import OneLineParser, positive_number, shared_parser
from diagnostics.output_files import check_outputs

PROGRAM = "analyze_performance.py"
_EPILOG = """\
exit codes:
  0  read, and no finding at or above --fail-on
  1  a finding at or above --fail-on; with --baseline: a regression, or a finding that the baseline
     does not have
  2  bad arguments, or an input could not be read (what could be read is still reported)
  3  not enough evidence to judge, or to compare with the baseline
"""


def parse_arguments(parser: OneLineParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; wrong ones end the program."""
    options = parser.parse_args(arguments)
    check_outputs(parser, options)
    return options


def make_parser(description: str) -> OneLineParser:
    """The parser of this tool."""
    parser = shared_parser(PROGRAM, description, _EPILOG)
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="PATH",
        help="compare with this earlier run: a log, a facts folder or a trace",
    )
    parser.add_argument(
        "--checklist", action="store_true", help="print the checklist, filled in, instead"
    )
    parser.add_argument(
        "--target-samples-per-s",
        type=positive_number,
        metavar="N",
        help="the throughput that the checklist asks for",
    )
    parser.add_argument(
        "--plans",
        type=Path,
        nargs="?",
        const=Path("configs/deblur"),
        metavar="DIR",
        help="predict what the configurations in DIR (default: configs/deblur) would do here",
    )
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="write the report into the run's folder, for `tensorboard --logdir profiles`",
    )
    parser.add_argument("--explain", metavar="RULE", help="print what a rule measures, and leave")
    parser.add_argument("--list-rules", action="store_true", help="print all rules, and leave")
    return parser
