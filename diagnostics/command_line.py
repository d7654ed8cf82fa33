"""What both tools share at the edge: arguments, exit codes, one-line errors, where JSON goes.

Everything here is cheap to import, so that `--help` answers at once.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from enum import IntEnum
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NoReturn

from diagnostics.errors import DiagnosticsError
from diagnostics.language import ENGLISH, LANGUAGES, chosen_language, say, speaking, spoken
from diagnostics.language.line_breaks import breaks_of, has_wide_letters
from diagnostics.printable import printable
from diagnostics.ways_out import behind_links, is_a_way_out, write_into

FAIL_ON = ("none", "note", "warn", "critical")
STDOUT = "-"
_MOST, _MOST_DIGITS = 1e9, 18
STDOUT_CLOSED = "standard output is closed"
_OUTPUT_FAILED = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)


class ExitCode(IntEnum):
    """What a shell or a CI job can act on."""

    OK = 0
    """Everything was read, and no finding reaches `--fail-on`."""
    FINDINGS = 1
    """A finding reaches `--fail-on`; of a forecast: it does not fit."""
    BAD_INPUT = 2
    """Bad arguments, or an input could not be read; what could be read is still reported."""
    NOT_ENOUGH_EVIDENCE = 3
    """Everything was read, but it is too little to judge."""
    INTERRUPTED = 130
    READER_GONE = 141
    """The program at the other end of the pipe closed it; what a shell reports for SIGPIPE."""


class _SpokenHelp(argparse.RawDescriptionHelpFormatter):
    """Help in the language spoken now."""

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, prefix or spoken("usage: "))

    def start_section(self, heading: str | None) -> None:
        super().start_section(spoken(heading or ""))

    def add_text(self, text: str | None) -> None:
        super().add_text(spoken(text or ""))

    def _get_help_string(self, action: argparse.Action) -> str:
        return spoken(action.help or "")

    def _split_lines(self, text: str, width: int) -> list[str]:
        if not has_wide_letters(text):
            return super()._split_lines(text, width)
        edges = [0, *breaks_of(text, width), len(text)]
        return [text[start:end].strip() for start, end in pairwise(edges)]


class OneLineParser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, without the usage block around it."""

    def error(self, message: str) -> NoReturn:
        """Print the message and leave with the exit code of bad arguments."""
        print_error(
            self.prog, say("{message} (see {prog} --help)", message=message, prog=self.prog)
        )
        raise SystemExit(int(ExitCode.BAD_INPUT))

    def format_usage(self) -> str:
        """The usage in English: argparse cuts the word before it off by its English length."""
        with speaking(ENGLISH):
            return super().format_usage()


class _PrintVersion(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **_: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and leave")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(f"{parser.prog} {tool_version()}")
        parser.exit()


def tool_version() -> str:
    """The installed version; a bare checkout has none and says so."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("vrt-spike")
    except PackageNotFoundError:
        return "(version unknown: run from a checkout that is not installed)"


def shared_parser(program: str, description: str, epilog: str | None = None) -> OneLineParser:
    """A parser with the arguments both tools understand alike.

    They are `paths`, `json` (a path, `-`, or None), `html`, `fail_on`, `width`, `no_color`,
    `profiles_dir` and `lang`, which `run_tool` has read by then.
    """
    parser = OneLineParser(
        prog=program,
        description=description,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=_SpokenHelp,
    )
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="a text log or a facts folder, or several; without one, the newest run",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write the report as JSON; '-' prints it and nothing else"
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write the report as one HTML page"
    )
    parser.add_argument(
        "--fail-on",
        choices=FAIL_ON,
        default="none",
        help="leave with exit code 1 on a finding at or above this severity (default: none)",
    )
    parser.add_argument(
        "--profiles-dir",
        type=Path,
        default=Path("profiles"),
        metavar="DIR",
        help="where to look for the newest run (default: profiles)",
    )
    parser.add_argument(
        "--width", type=_columns, metavar="N", help="columns of the report (default: the terminal)"
    )
    parser.add_argument(
        "--lang",
        choices=LANGUAGES,
        help="language of everything printed: English or Chinese (default: the locale's)",
    )
    parser.add_argument("--no-color", action="store_true", help="print without colours")
    parser.add_argument("--version", action=_PrintVersion)
    return parser


def _columns(text: str) -> int:
    return whole_number(text, 40, 1000)


def whole_number(text: str, least: int, most: int) -> int:
    """An argument that is a whole number in a range, both ends in it.

    Raises:
        ArgumentTypeError: it is none.
    """
    is_number = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    if not is_number or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(
            say(
                "needs a whole number from {least} to {most}, got {text!r}",
                least=least,
                most=most,
                text=text,
            )
        )
    return int(text)


def positive_number(text: str) -> float:
    """An argument that is a number above 0, and of this world.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= _MOST:
        raise argparse.ArgumentTypeError(
            say(
                "needs a number above 0 and at most {most:,.0f}, got {text!r}",
                most=_MOST,
                text=text,
            )
        )
    return value


def choose_exit_code(
    severities: Iterable[str], fail_on: str, *, all_read: bool, judged: bool
) -> ExitCode:
    """The exit code of a report whose findings have these severities.

    `all_read` is false when an input could not be read, `judged` is false when what was read does
    not suffice for a verdict. An unreadable input outweighs findings, and they outweigh doubt.
    """
    if not all_read:
        return ExitCode.BAD_INPUT
    if fail_on != "none":
        limit = FAIL_ON.index(fail_on)
        if any(FAIL_ON.index(severity) >= limit for severity in severities):
            return ExitCode.FINDINGS
    return ExitCode.OK if judged else ExitCode.NOT_ENOUGH_EVIDENCE


def print_error(program: str, message: str, stream: IO[str] | None = None) -> None:
    """One line on the error stream, whatever the message holds; it may lie on a full disk, too."""
    with suppress(OSError):
        print(f"{program}: {printable(spoken(message), limit=2000)}", file=stream or sys.stderr)


def write_json(target: str, text: str) -> None:
    """Print JSON when `target` is `-`, else write the file under a temporary name and rename it.

    Raises:
        DiagnosticsError: the file cannot be written; one line, saying why.
    """
    if target == STDOUT:
        sys.stdout.write(text)
        return
    write_atomically(Path(target), text)


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole or not at all; an older file of that name stays until the new one is done.

    A pipe, a device or a descriptor is written into.

    Raises:
        DiagnosticsError: the file cannot be written; one line, saying why.
    """
    if not path.name:
        raise DiagnosticsError(say("{path!r}: is not the name of a file", path=str(path)))
    if is_a_way_out(path):
        _write_into(path, text)
        return
    write_whole(path, text, Path.replace)


def write_whole(path: Path, text: str, place: Callable[[Path, Path], object]) -> None:
    """Write a file under a temporary name, then let `place` give it its own; else nothing is left.

    A link stays: the file that it leads to is written.

    Raises:
        DiagnosticsError: the file cannot be written; one line, saying why.
    """
    try:
        _write_beside(behind_links(path), text, place)
    except (OSError, ValueError) as error:
        raise _unwritten(path, error) from None


def _write_beside(path: Path, text: str, place: Callable[[Path, Path], object]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(text.encode("utf-8"))  # bytes, so that a text's line ends stay
        place(temporary, path)
    finally:
        with suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)


def _write_into(path: Path, text: str) -> None:
    try:
        write_into(path, text.encode("utf-8"))
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        raise _unwritten(path, error) from None


def _unwritten(path: Path, error: OSError | ValueError) -> DiagnosticsError:
    reason = error.strerror if isinstance(error, OSError) else "not a usable file name"
    return DiagnosticsError(say("{path}: cannot be written: {reason}", path=path, reason=reason))


def run_tool(program: str, tool: Callable[[Sequence[str] | None], int]) -> int:
    """Run a tool's `main`: its errors become one line, and a closed pipe is no error.

    Anything that is not a `DiagnosticsError` is a bug and keeps its traceback.
    """
    _open_closed_streams()
    _never_fail_to_encode()
    with speaking(chosen_language(sys.argv[1:], os.environ, sys.stdout.encoding)):
        return _run_tool(program, tool)


def _run_tool(program: str, tool: Callable[[Sequence[str] | None], int]) -> int:
    try:
        code = int(tool(None))
        sys.stdout.flush()
    except DiagnosticsError as error:
        print_error(program, str(error))
        return error.exit_code
    except BrokenPipeError:
        _discard_output()
        return int(ExitCode.READER_GONE)
    except OSError as error:
        if error.errno not in _OUTPUT_FAILED or error.filename is not None:
            raise
        _discard_output()
        reason = STDOUT_CLOSED if error.errno == errno.EBADF else error.strerror
        print_error(program, say("the output cannot be written: {strerror}", strerror=reason))
        return int(ExitCode.BAD_INPUT)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    return code


def _open_closed_streams() -> None:
    """A stream that the shell closed (`>&-`) is None in Python.

    A report that goes nowhere must not look like one that was read: what stands in for standard
    output takes nothing. Errors that nobody wants to see are lost.
    """
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def _discard_output() -> None:
    """Python flushes stdout once more on its way out; give it somewhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _never_fail_to_encode() -> None:
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
