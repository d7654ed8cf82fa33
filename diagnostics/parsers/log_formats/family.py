"""What is known about a family of trainers, beside the lines that it writes."""

from collections.abc import Callable
from dataclasses import dataclass

from diagnostics.parsers.line_scanner import LineFormat
from diagnostics.parsers.scanned import Scanned
from diagnostics.run import Clock

PRINTED = "the lines print it"


@dataclass(frozen=True, kw_only=True)
class LogFamily:
    """A family.

    `unit` is that of its times and `because` why they are read so. `clock` is that of its phases
    of a GPU's work: `device` where it takes events or waits for the GPU before it looks,
    which `clock_because` says.
    `has_fetch`: its time for data spans the fetch of the batch; None where it states none.
    `is_foreign`: neither VRT-Spike's own trainer nor the original one.
    `read_file` reads what is no text of lines: it takes the content of a file, and answers None
    where that is another's.
    """

    name: str
    formats: tuple[LineFormat, ...] = ()
    unit: str = "ms"
    because: str = PRINTED
    clock: Clock = "host"
    clock_because: str = ""
    has_fetch: bool | None = None
    is_foreign: bool = True
    read_file: Callable[[bytes], Scanned | None] | None = None
