#!/usr/bin/env python3
"""Says where a training run's time goes, what is wrong with it, and what to change."""

import sys
from collections.abc import Sequence

from diagnostics.command_line import ExitCode, OneLineParser, run_tool, shared_parser

PROGRAM = "analyze_performance.py"
EPILOG = """\
exit codes:
  0  read, and no finding at or above --fail-on
  1  a finding at or above --fail-on
  2  bad arguments, or an input could not be read (what could be read is still reported)
  3  not enough evidence to judge
"""


def build_parser() -> OneLineParser:
    """The arguments of this tool."""
    parser = shared_parser(PROGRAM, str(__doc__), EPILOG)
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="write the report into the run's folder, for `tensorboard --logdir profiles`",
    )
    parser.add_argument("--explain", metavar="RULE", help="print what a rule measures, and leave")
    parser.add_argument("--list-rules", action="store_true", help="print all rules, and leave")
    return parser


def main(arguments: Sequence[str] | None = None) -> ExitCode:
    """Run the tool; the imports wait so that --help answers at once."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    from diagnostics.report import publish

    if options.list_rules:
        return publish.list_rules()
    if options.explain is not None:
        return publish.explain_rule(options.explain, parser)
    return publish.diagnose(options, PROGRAM)


if __name__ == "__main__":
    sys.exit(run_tool(PROGRAM, main))
