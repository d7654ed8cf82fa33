"""`python -m vrtspike.train`: train VRT-Spike and record where its time and memory go."""

import argparse
import contextlib
import faulthandler
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from vrtspike.errors import ConfigError, VRTSpikeError

_EPILOG = """\
Several GPUs: torchrun --nproc_per_node=N -m vrtspike.train --config FILE ...

The log is written to outputs/logs, facts for the tools to profiles, checkpoints to
outputs/checkpoints. Ctrl-C finishes the step and saves; a second one stops at once.

exit codes: 0 finished, 2 wrong input or failed, 130 after Ctrl-C, 143 after SIGTERM
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    parser = argparse.ArgumentParser(
        prog="python -m vrtspike.train",
        description="Train VRT-Spike and record where its time and memory go.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="YAML file")
    parser.add_argument(
        "--profile", action="store_true", help="also trace some steps with the torch profiler"
    )
    parser.add_argument(
        "--profile-steps",
        type=_positive,
        metavar="N",
        help="steps to keep in the trace instead of PROFILING.ACTIVE; implies --profile",
    )
    parser.add_argument(
        "--resume",
        metavar="auto|PATH",
        help="continue from the newest whole checkpoint, from a file, or from a run's folder",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY.PATH=VALUE",
        help="change a value of the configuration, such as TRAIN.BATCH_SIZE=2",
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    asked = build_parser().parse_intermixed_args(arguments)
    try:
        return _train(asked, arguments)
    except VRTSpikeError as error:
        rank = os.environ.get("RANK", "0")
        who = "" if rank == "0" else f"rank {rank}: "
        if rank == "0" or not isinstance(error, ConfigError):  # all ranks read the same file
            with contextlib.suppress(OSError):  # standard error may lie on the full disk, too
                print(f"error: {who}{error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        _write_out()


def _write_out() -> None:
    """Writes what is buffered: at its end the interpreter would make a full disk exit code 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            with contextlib.suppress(OSError, ValueError):  # no stream with a descriptor
                os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _train(asked: argparse.Namespace, arguments: Sequence[str]) -> int:
    from vrtspike.engine.session import RunRequest, run_training  # PyTorch: not for --help

    request = RunRequest(
        config_path=asked.config,
        overrides=tuple(asked.overrides),
        device=asked.device,
        profile=asked.profile or asked.profile_steps is not None,
        profile_steps=asked.profile_steps,
        resume=asked.resume,
        argv=("-m", "vrtspike.train", *arguments),
    )
    return run_training(request)


def tell_of_crashes() -> None:
    """A crash (a bus error of a mapped file, a fault in a library) leaves Python's stack behind.

    It goes to standard error; without it such a process ends without a word.
    """
    with contextlib.suppress(RuntimeError, OSError, ValueError):  # closed, or no file
        faulthandler.enable()


if __name__ == "__main__":
    tell_of_crashes()
    sys.exit(main())
