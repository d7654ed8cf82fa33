"""The stage times of the original VRT-Spike trainer, in the four forms in which it wrote them.

A timing log (one block for each step), a block on the console, a summary at the end, and the prints
of its first version. All are differences of the host's clock around work that a GPU does later, so
they say when work was queued. The percentages and the total in them count nested parts twice, and
are not used. The formats are those of its published versions of October and November 2025.
"""

import re

from diagnostics.parsers.line_scanner import LineFormat
from diagnostics.parsers.line_shapes import Number, Reading, is_number
from diagnostics.parsers.log_formats.fields import STAGE_PART
from diagnostics.parsers.scanned import MARK, SAID, Statement

FAMILY = "original trainer"
VRT_WHOLE = "vrt"
"""The whole of the trunk, of which its stages are parts: not a stage itself."""

_ROOTS = {
    "前向传播总耗时": ("phase", "forward"),
    "VRT处理": ("stage", VRT_WHOLE),
    "VRT处理与融合": ("stage", VRT_WHOLE),
    "Spike编码器": ("stage", "spike_encoder"),
    "Spike时间自注意力": ("stage", "temporal_attention"),
    "VRT融合": ("detail", "fusion"),
}
_NAMES = b"|".join(name.encode() for name in sorted(_ROOTS, key=len, reverse=True))
_NUMBER = rb"([\d.]{1,20})"
_HEADER = re.compile(rb"Step (\d{1,15})\s*")
_CONSOLE = re.compile(rb"Timing Profile \(Step (\d{1,15})\)")
_CONSOLE_ROW = re.compile("│ (.{1,100}?) +(?:█|░){1,60} +".encode() + _NUMBER + rb"ms")
_ROOT = re.compile(rb"(?:^|[\s-])(" + _NAMES + rb")\s*: +" + _NUMBER + rb"ms")
_CHILD = re.compile(rb"^ {2}- ([^\s:][^:]{0,80}?) *: +" + _NUMBER + rb"ms \[avg: +[\d.]+ms\]")
_TOTAL = re.compile(rb"^Total-*: +" + _NUMBER + rb"ms")
_SUMMARY = re.compile(
    rb"^([^:]{1,80}?) *: avg= *([\d.]+)ms  min= *([\d.]+)ms  max= *([\d.]+)ms  \(n=(\d{1,15})\)"
)
_STAGE = re.compile(r"Stage(\d{1,3})")

_FORWARD_BEGINS = re.compile("开始前向传播".encode())
_PRINTS = (
    (
        re.compile("\\[VRT\\] Stage (\\d{1,3}) .{0,80}?耗时: ".encode() + _NUMBER + b"ms"),
        "vrt.stage",
    ),
    (re.compile("\\[VRT融合\\] Stage (\\d{1,3}) 总耗时: ".encode() + _NUMBER + b"ms"), "fusion"),
)
_WHOLES = (
    (re.compile("\\[主模型\\] (Spike编码器)总耗时: ".encode() + _NUMBER + b"ms"), "spike_encoder"),
    (
        re.compile("\\[主模型\\] (Spike时间自注意力)总耗时: ".encode() + _NUMBER + b"ms"),
        "temporal_attention",
    ),
    (re.compile("\\[主模型\\] (VRT处理)总耗时: ".encode() + _NUMBER + b"ms"), VRT_WHOLE),
)


def _part(
    name: str, at: re.Match[bytes], group: int, *fixed: int, is_phase: bool = False
) -> Reading | None:
    """A time of the step that was begun before the line."""
    if not is_number(at[group]):
        return None
    return Reading(
        kind=STAGE_PART,
        family=FAMILY,
        numbers=(Number("ms", *at.span(group)),),
        words=(("what", "phase" if is_phase else "stage"), ("name", name)),
        fixed=tuple(at.span(each) for each in fixed),
    )


def _named(found: re.Match[bytes]) -> Reading | Statement | None:
    what, name = _ROOTS.get(found[1].decode("utf-8", "replace").strip(), ("detail", ""))
    if what == "detail":
        return Statement(kind=SAID)
    return _part(name, found, 2, 1, is_phase=what == "phase")


def read_header(line: bytes) -> Reading | None:
    """`Step 1`, alone on its line between two rules."""
    found = _HEADER.fullmatch(line)
    return _mark(found) if found else None


def read_console_header(line: bytes) -> Reading | None:
    """`Timing Profile (Step 42)`."""
    found = _CONSOLE.search(line)
    return _mark(found) if found else None


def _mark(found: re.Match[bytes]) -> Reading:
    return Reading(kind=MARK, family=FAMILY, numbers=(Number("step", *found.span(1)),))


def read_console_row(line: bytes) -> Reading | Statement | None:
    """A root with its bar and its time."""
    found = _CONSOLE_ROW.search(line)
    return _named(found) if found else None


def read_root(line: bytes) -> Reading | Statement | None:
    """A root of a timing log, or the same name among the prints of the first version."""
    found = _ROOT.search(line)
    return _named(found) if found else None


def read_child(line: bytes) -> Reading | Statement | None:
    """A part of a root; those of the trunk are its stages, of the others the roots suffice."""
    found = _CHILD.search(line)
    if found is None:
        return None
    stage = _STAGE.fullmatch(found[1].decode("utf-8", "replace"))
    if stage is None:
        return Statement(kind=SAID)
    return _part(f"vrt.stage{int(stage[1])}", found, 2, 1)


def read_total(line: bytes) -> Statement | None:
    """The total, which counts nested parts twice."""
    return Statement(kind=SAID) if _TOTAL.search(line) else None


def read_summary(line: bytes) -> Statement | None:
    """Mean, smallest and largest of a root over all forwards of the run."""
    found = _SUMMARY.search(line)
    if found is None or not all(is_number(found[group]) for group in (2, 3, 4)):
        return None
    what, name = _ROOTS.get(found[1].decode("utf-8", "replace").strip(), ("detail", ""))
    values = {"name": name, "what": what, "avg_ms": float(found[2]), "count": int(found[5])}
    return Statement(kind="timing_summary", value=values)


def read_forward_begin(line: bytes) -> Reading | None:
    """The first print of a forward; the prints state no step, so forwards are counted."""
    return Reading(kind=MARK, family=FAMILY) if _FORWARD_BEGINS.search(line) else None


def read_print(line: bytes) -> Reading | Statement | None:
    """A print of the first version: a stage, a fusion, or a whole; details are passed over."""
    for pattern, name in _PRINTS:
        if found := pattern.search(line):
            return _part(f"{name}{int(found[1])}", found, 2, 1)
    for pattern, name in _WHOLES:
        if found := pattern.search(line):
            return _part(name, found, 2, 1)
    return Statement(kind=SAID)


FORMATS = (
    LineFormat(b"Timing Profile (Step ", read_console_header),
    LineFormat("│ ".encode(), read_console_row),
    LineFormat("└─".encode(), lambda _: Statement(kind=SAID)),
    LineFormat(b"ms [avg: ", read_root),
    LineFormat(b"ms [avg: ", read_child),
    LineFormat(b"(n=", read_summary),
    LineFormat(b"Total-", read_total),
    LineFormat(b"Step ", read_header),
    LineFormat("开始前向传播".encode(), read_forward_begin),
    LineFormat("前向传播总耗时".encode(), read_root),
    LineFormat("VRT处理".encode(), read_root),
    LineFormat("Spike编码器".encode(), read_root),
    LineFormat("Spike时间自注意力".encode(), read_root),
    LineFormat(b"%) [avg: ", read_root),
    *(
        LineFormat(marker.encode(), read_print)
        for marker in (
            "[主模型]",
            "[SpikeEncoder",
            "[SpikeTemporalSA]",
            "[SpikeTemporalSelfAttention]",
            "[VRT]",
            "[VRT融合]",
            "[TemporalCrossAttnFuseBlock]",
            "[TemporalCrossAttention]",
        )
    ),
)
