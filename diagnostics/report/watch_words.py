"""What lines of a watched training are called, and what is said of their growth."""

from datetime import datetime

from diagnostics.analyses.machine_jobs import Role
from diagnostics.analyses.watch_course import Line, WatchView
from diagnostics.analyses.watch_growth import Growing
from diagnostics.language import say
from diagnostics.printable import printable
from diagnostics.report import units
from diagnostics.rules.named_pids import named_pids
from diagnostics.run import RunStatus

_PROCESS_NAMES: dict[Role, str] = {
    "launcher": "launcher {pid}",
    "main": "training process {pid}",
    "worker": "loader process {pid}",
    "sampler": "sampler {pid}",
    "other": "other process {pid}",
}
_RANKED_NAMES: dict[Role, str] = {
    "launcher": "launcher {pid}",
    "main": "training process {pid}, rank {rank}",
    "worker": "loader process {pid}, rank {rank}",
    "sampler": "sampler {pid}",
    "other": "other process {pid}, rank {rank}",
}
_NAMES = {
    "/dev/shm": "/dev/shm",
    "cache": "file cache",
    "swap": "swap",
    "free": "memory left",
    "disk read": "disks, read",
    "disk write": "disks, written",
}


def process_name(pid: int, role: Role | None, rank: int | None) -> str:
    """A process by what it is for."""
    names = _PROCESS_NAMES if rank is None else _RANKED_NAMES
    return say(names[role or "other"], pid=pid, rank=rank)


def line_name(line: Line) -> str:
    """The name of a line."""
    if line.kind == "process" and line.pid is not None:
        return process_name(line.pid, line.role, line.rank)
    if line.kind == "processes":
        return say("{count} smaller process(es)", count=line.count)
    if line.kind == "all":
        return say("all {count} processes", count=line.count)
    if line.kind == "GPU":
        return say("GPU {index}, busy", index=line.index)
    if line.kind == "GPU memory":
        return say("GPU {index}, memory", index=line.index)
    return _NAMES[line.kind]


def amount(line: Line, value: float | None) -> str:
    """A value of a line with its unit."""
    if value is None:
        return units.UNKNOWN
    if line.unit == "percent":
        return f"{value:.0f} %"
    return f"{units.size(value)}/s" if line.unit == "bytes/s" else units.size(value)


def growth_text(growing: Growing) -> str:
    """Who grows, how fast and since when."""
    since = datetime.fromtimestamp(growing.since_unix_s).astimezone().strftime("%H:%M:%S")
    rate, rise = units.size(growing.trend.slope), units.size(growing.rise_bytes)
    if growing.kind == "process" and growing.pid is not None:
        name = process_name(growing.pid, growing.role, growing.rank)
        return say(
            "{name} grows by {rate}/s since {since}, by {rise} so far.",
            name=name,
            rate=rate,
            since=since,
            rise=rise,
        )
    if growing.kind == "GPU":
        return _gpu_text(growing, since)
    if growing.kind == "processes":
        return say(
            "{count} loader processes together{pids} grow by {rate}/s since {since}, by "
            "{rise} so far.",
            count=growing.count,
            pids=named_pids(growing.pids),
            rate=rate,
            since=since,
            rise=rise,
        )
    if growing.pid is None:
        return say(
            "/dev/shm grows by {rate}/s since {since}, by {rise} so far; no process of the "
            "training maps or writes as much.",
            rate=rate,
            since=since,
            rise=rise,
        )
    return say(
        "/dev/shm grows by {rate}/s since {since}, by {rise} so far: {name} fills it.",
        rate=rate,
        since=since,
        rise=rise,
        name=process_name(growing.pid, growing.role, growing.rank),
    )


def _gpu_text(growing: Growing, since: str) -> str:
    holder = (
        ""
        if growing.pid is None
        else say(" of {name}", name=process_name(growing.pid, growing.role, growing.rank))
    )
    end = (
        ""
        if growing.seconds_left is None
        else say("; it is full in {left}", left=duration(growing.seconds_left))
    )
    return say(
        "Memory{holder} on GPU {index} grows by {rate}/s since {since}, by {rise} so far{end}.",
        holder=holder,
        index=growing.index,
        rate=units.size(growing.trend.slope),
        since=since,
        rise=units.size(growing.rise_bytes),
        end=end,
    )


def subject_texts(view: WatchView) -> list[str]:
    """That what is watched is no training, as far as anything tells; else nothing."""
    if view.subject.is_training:
        return []
    text = "No training is known to run in process {pid} ({name}): it is watched all the same."
    return [say(text, pid=view.subject.pids[0], name=view.subject.name or units.UNKNOWN)]


def end_text(view: WatchView) -> str:
    """That what was watched is over."""
    if not view.subject.is_training:
        pid, name = view.subject.pids[0], view.subject.name or units.UNKNOWN
        return say("Process {pid} ({name}) has ended.", pid=pid, name=name)
    return "The training has ended."


def over_text(status: RunStatus | None, path: str) -> str:
    """That a run which was named does not run: what it says of itself decides how."""
    shown = printable(path, limit=1000)
    if status == "running":
        text = "{path}: its process is not on this machine (any more); there is nothing to watch"
    elif status is None:
        text = "{path}: does not say which process it is of; name one: --pid N"
    else:
        return say(
            "{path}: this run is over ({status}); nothing to watch", path=shown, status=status
        )
    return say(text, path=shown)


def growth_texts(view: WatchView) -> list[str]:
    """Every growth, and how long the memory lasts; or that nothing grows, or that it is early."""
    if view.growing:
        said = [growth_text(each) for each in view.growing]
        if view.seconds_left is not None:
            left = duration(view.seconds_left)
            said.append(say("At this rate the memory left lasts {left}.", left=left))
        return said
    seen = duration(float(view.at_s[-1]) if len(view.at_s) else 0.0)
    if not view.is_judged:
        return [say("It is too early to tell growth: {seen} were seen.", seen=seen)]
    return [say("Nothing grows steadily, as far as {seen} tell.", seen=seen)]


def duration(seconds: float) -> str:
    """Hours, minutes and seconds."""
    whole = min(round(seconds), 359_999)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
