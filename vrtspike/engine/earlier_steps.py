"""How long a step of the same network took in an earlier run on this machine. No PyTorch.

Only the newest runs are looked at, and of each only the end of one file, so that a folder of
thousands of runs costs a start nothing.
"""

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from vrtspike.data.loading_need import StepTime
from vrtspike.profiling.redaction import host_label
from vrtspike.profiling.run_folder import META, RUN_ID
from vrtspike.step_settings import decisive_settings

MOST_RUNS = 30
MIN_STEPS = 5
"""Fewer steps may all be slow ones: first calls, caches that fill."""
_TAIL_BYTES = 1 << 20
_MAX_META_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True)
class Where:
    """What an earlier run has to share: a kind of device, how many ranks, and this machine.

    `device_name` may be None where it is not known; the name of the host then decides alone.
    """

    device: str
    ranks: int
    device_name: str | None = None
    host: str = ""

    def matches(self, meta: Mapping[str, Any]) -> bool:
        """Whether the run was made on the like."""
        device = meta.get("device")
        if not isinstance(device, Mapping) or device.get("type") != self.device:
            return False
        host = self.host or socket.gethostname()
        is_here = meta.get("host") in (host, host_label(host))
        is_same = self.device_name is not None and device.get("name") == self.device_name
        return meta.get("world_size") == self.ranks and (is_here or is_same)


def earlier_step_time(
    profiles_dir: Path, settings: Mapping[str, Any], where: Where
) -> tuple[StepTime | None, str]:
    """The median step of rank 0 without its wait for data, of the newest run that fits.

    Args:
        profiles_dir: The folder of runs.
        settings: The configuration as plain data.
        where: Where the run to come will be.

    Returns:
        The time, or None and why there is none.
    """
    wanted = dict(decisive_settings(settings))
    for folder in _newest(profiles_dir):
        meta = _meta(folder)
        config = meta.get("config")
        if not isinstance(config, Mapping) or not where.matches(meta):
            continue
        if _plain(dict(decisive_settings(config))) != _plain(wanted):
            continue
        times = [time for line in _tail(folder / "steps.rank0.jsonl") for time in _step_ms(line)]
        if len(times) >= MIN_STEPS:
            return StepTime(ms=median(times), source=f"run {folder.name}"), ""
    return None, "no earlier run of this network on this machine tells how long a step takes"


def _newest(profiles_dir: Path) -> Iterator[Path]:
    """Names begin with the date."""
    try:
        found = [path for path in profiles_dir.iterdir() if RUN_ID.fullmatch(path.name)]
    except OSError:
        return iter(())
    return islice(sorted(found, key=lambda path: path.name, reverse=True), MOST_RUNS)


def _meta(folder: Path) -> Mapping[str, Any]:
    try:
        with (folder / META).open("rb") as file:
            found = json.loads(file.read(_MAX_META_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _plain(value: object) -> object:
    """Lists and tuples alike, as JSON has them."""
    return json.loads(json.dumps(value, default=str))


def _tail(path: Path) -> list[str]:
    """The whole lines in the last part of a file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return lines[1:] if size > _TAIL_BYTES else lines


def _step_ms(line: str) -> Iterator[float]:
    """Nothing for a step that statistics leave out; the device's clock where there is one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(record, dict) or record.get("tags") or record.get("kind") != "step":
        return
    times = record.get("device_ms") or record.get("host_ms")
    if not isinstance(times, Mapping):
        return
    whole, wait = times.get("step"), times.get("data_wait", 0.0)
    if isinstance(whole, int | float) and isinstance(wait, int | float) and 0 <= wait < whole < 1e9:
        yield float(whole - wait)
