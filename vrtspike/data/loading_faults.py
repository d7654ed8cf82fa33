"""One line, with the cure, for what ends the loading of data from outside: deaths, limits, hangs.

PyTorch says some of it in words that do not help, and a death sometimes without its signal: then
the exit code of the process tells.
"""

import errno
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vrtspike.errors import DataError


class LoadingFaultError(DataError):
    """Loading ended for a reason outside the data."""


class LoadingDiedError(LoadingFaultError):
    """A process that loads data is gone; `signal_name` as the system words it, where known."""

    def __init__(self, message: str, signal_name: str | None = None) -> None:
        super().__init__(message)
        self.signal_name = signal_name


class LoadingStuckError(LoadingFaultError):
    """No batch came for longer than the configuration allows."""


class SystemLimitError(LoadingFaultError):
    """A limit of the system ended the loading; no sample is to blame for it."""


@dataclass(frozen=True)
class DeadWorker:
    """A loading process that has ended; a negative `exit_code` is the number of a signal."""

    pid: int | None
    exit_code: int

    @property
    def signal_name(self) -> str | None:
        """The signal that ended it, as the system words it; None where it ended by itself."""
        if self.exit_code >= 0:
            return None
        try:
            return signal.strsignal(-self.exit_code) or f"signal {-self.exit_code}"
        except ValueError:
            return f"signal {-self.exit_code}"

    @property
    def text(self) -> str:
        """As PyTorch would have said it, had it known."""
        if self.signal_name is None:
            return f"DataLoader worker (pid {self.pid}) ended by itself, exit code {self.exit_code}"
        return f"DataLoader worker (pid {self.pid}) is killed by signal: {self.signal_name}."


_FEWER = "lower DATALOADER.TOTAL_WORKERS, DATA.CACHE_SIZE_GB or DATALOADER.TRAIN_PREFETCH_FACTOR"
_SHM_CURE = (
    "So ends a process that finds /dev/shm full: start the container with a larger --shm-size, or "
    f"{_FEWER}"
)
_LIKELY = {
    "Killed": "Somebody ended it so, or the system, when host memory ran out "
    f"(`python diagnose_memory.py` tells): then {_FEWER}",
    "Bus error": f"{_SHM_CURE}. (Also one whose mapped file was cut short or whose disk failed: "
    "see `dmesg`, and move DATA.CACHE_DIR or DATA.FAST_STORE, where they are set)",
}
_PERHAPS = f"If host memory ran out, {_FEWER}"

FILES_CURE = (
    "the process may not open more files: raise the limit (`ulimit -n 65536` in the shell that "
    "starts the run, LimitNOFILE of a service, --ulimit nofile=65536 of a container), or lower "
    "DATALOADER.TOTAL_WORKERS or DATALOADER.TRAIN_PREFETCH_FACTOR"
)
"""Every batch that waits holds a descriptor for each of its tensors."""

# A worker's own exception reads "Caught RuntimeError in DataLoader worker process 0": no death.
_DIED = re.compile(r"(?<! in )DataLoader worker(?! process)|Pin memory thread exited")
_SHARED_MEMORY = re.compile(r"unable to [^<>]*file </torch_[^<>]*>[^<>]*\(\d+\)")
_FILES = re.compile(r"[Tt]oo many open files|received \d+ items of ancdata")
_NAMED = re.compile(r"killed by signal: ([\w ]+)")


def explain_fault(
    error: BaseException, dead: Sequence[DeadWorker] = (), reports: Sequence[str] = ()
) -> LoadingFaultError | None:
    """One line for what PyTorch raises, anywhere, when loading fails; None for other errors.

    PyTorch learns the signal in one place and may raise from another: the whole chain is looked at.

    Args:
        error: What was raised.
        dead: The loading processes that are known to have ended, where somebody could look.
        reports: What they said themselves went wrong.
    """
    said = (explain_fault(RuntimeError(words)) for words in reports)
    if _is_loading(error) and (told := next((each for each in said if each), None)) is not None:
        return told
    chain = list(_chain(error))
    if known := next((each for each in chain if isinstance(each, LoadingFaultError)), None):
        return known  # PyTorch catches and replaces what ends a wait of its own
    texts = [" ".join(str(each).split()) for each in chain]
    if any(_is_out_of_files(each) for each in chain) or _FILES.search(texts[0]):
        return SystemLimitError(f"too many open files: {FILES_CURE}")
    if (full := _SHARED_MEMORY.search(texts[0])) is not None:
        return LoadingDiedError(f"{full[0]}. {_SHM_CURE}", None)
    deaths = [text for text in texts if _DIED.search(text)]
    lost = isinstance(error, EOFError | ConnectionError)
    if not deaths and not (dead and lost):
        return None
    named = next((text for text in deaths if _NAMED.search(text)), None)
    if named is None and dead:
        killed = next((each for each in dead if each.signal_name), dead[0])
        named = killed.text
    text = named or deaths[0]
    found = _NAMED.search(text)
    signal_name = found[1].strip() if found else None
    likely = _LIKELY.get(signal_name or "", _PERHAPS)
    return LoadingDiedError(f"a data loading process died: {text} {likely}", signal_name)


def explain_start(error: BaseException) -> LoadingFaultError | None:
    """One line for what keeps loading processes from starting; None for other errors."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return SystemLimitError(
            "loading processes cannot be started: /dev/shm is full. Start the container with a "
            f"larger --shm-size, remove what lies there, or {_FEWER}"
        )
    if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.ENOMEM):
        return SystemLimitError(
            f"loading processes cannot be started: {error.strerror}: the limit of processes "
            "(`ulimit -u`, pids.max of the container) or memory is used up; lower "
            "DATALOADER.TOTAL_WORKERS"
        )
    return explain_fault(error)


def died_handing_over() -> LoadingDiedError:
    """What is left to say when the connection to a process broke and no process is known dead."""
    return LoadingDiedError(
        f"a data loading process died while it handed over a batch. {_PERHAPS}", None
    )


def _is_loading(error: BaseException) -> bool:
    """Whether the loading failed, rather than something else while it had something to say."""
    if isinstance(error, EOFError | ConnectionError):
        return True
    return any("DataLoader worker" in str(each) for each in _chain(error))


def _is_out_of_files(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
