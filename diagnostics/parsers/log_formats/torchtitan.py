"""torchtitan (0.1 and 0.2, `torchtitan/components/metrics.py`).

    [rank0]:[titan] 2025-02-18 00:11:41,107 - root - INFO - step: 10  loss:  7.9929
      grad_norm:  1.5432  memory:  1.20GiB(1.27%)  tps: 7,222  tflops: 1.02  mfu: 2.39%

`tps` is tokens a second and device. The line states no time: the time stamps tell that of a step,
and a file of its metrics (JSON lines with `time_metrics/end_to_end(s)`) tells the data's part too.
"""

import re

from diagnostics.parsers.line_scanner import LineFormat
from diagnostics.parsers.line_shapes import Number, Reading
from diagnostics.parsers.log_formats.family import LogFamily
from diagnostics.parsers.log_formats.fields import LOG_LINE, Field, fields_in
from diagnostics.parsers.scanned import SAID, Statement

NAME = "torchtitan"

_STEP = re.compile(rb"(?<![\w])(validate )?step: +(\d{1,15}) +(?=loss: )")
_FIELD = re.compile(rb"(\w{1,40}): +([-+\d.,eEnainf]{1,40}(?:GiB)?)(?![\w.])")
_FIELDS = {
    b"loss": Field("loss", 1.0),
    b"grad_norm": Field("grad_norm", 1.0),
    b"memory": Field("gpu_memory_bytes"),
    b"tps": Field("tokens_per_s", 1.0),
}


def read_line(line: bytes) -> Reading | Statement | None:
    """The line of a step."""
    head = _STEP.search(line)
    if head is None:
        return None
    if head[1]:
        return Statement(kind=SAID)
    numbers = (Number("step", *head.span(2)), *fields_in(_FIELD, _FIELDS, line, head.end()))
    return Reading(kind=LOG_LINE, family=NAME, numbers=numbers)


FAMILY = LogFamily(name=NAME, formats=(LineFormat(b"step: ", read_line),))
