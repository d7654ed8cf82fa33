"""`config.yaml`: what a folder of spike files says about its sensor.

The keys of SpikeCV (`spike_h`, `spike_w`, ...) say nothing of threshold, rate or exposure; ours
adds `theta`, `tick_rate_hz`, `ticks_per_frame`, `light_domain` and, beside precomputed voxels,
`voxel_bins` and `voxel_mode`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vrtspike.data.atomic_files import replace_file
from vrtspike.data.settings import VoxelMode
from vrtspike.data.spike_stream import DEFAULT_THETA
from vrtspike.errors import DataError

FILE_NAME = "config.yaml"
MAX_CONFIG_BYTES = 1 << 16
MAX_SIDE = 1 << 14


@dataclass(frozen=True, kw_only=True)
class SpikeConfig:
    """The sensor behind a folder of `.dat` files; what the file does not say is None.

    `theta` is in units of one tick of white light. `byte_padded`: every tick is filled up to a
    whole byte. `voxel_bins` and `voxel_mode` describe precomputed voxels beside the spikes.
    """

    spike_h: int
    spike_w: int
    theta: float = DEFAULT_THETA
    ticks_per_frame: int | None = None
    tick_rate_hz: float | None = None
    light_domain: str | None = None
    byte_padded: bool = False
    voxel_bins: int | None = None
    voxel_mode: VoxelMode | None = None


GOPRO_DEFAULT = SpikeConfig(spike_h=360, spike_w=640)
"""GoPro+Spike as published: half of 720x1280, theta 2."""


def find_spike_config(folder: Path, top: Path) -> SpikeConfig | None:
    """The nearest `config.yaml` from `folder` upwards to `top` that speaks of spikes."""
    for candidate in (folder, *folder.parents):
        path = candidate / FILE_NAME
        if _is_file(path) and "spike_h" in (values := _read_mapping(path)):
            return parse_spike_config(values, path)
        if candidate == top:
            break
    return None


def load_spike_config(path: Path) -> SpikeConfig:
    """Read one `config.yaml`; raises DataError naming file and key."""
    return parse_spike_config(_read_mapping(path), path)


def _is_file(path: Path) -> bool:
    """False, too, where nobody may look."""
    try:
        return path.is_file()
    except OSError:
        return False


class _PlainLoader(yaml.SafeLoader):
    """Without aliases: a few lines of them spell a list of a billion entries."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read here")
        return super().compose_node(parent, index)


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise DataError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes, not a sensor's file")
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_PlainLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot read it as YAML: {reason}") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected keys such as spike_h and spike_w")
    return values


def parse_spike_config(values: Mapping[str, Any], path: Path) -> SpikeConfig:
    """Check the values of a `config.yaml`; unknown keys (SpikeCV has several) are left alone."""
    mode = values.get("voxel_mode")
    if mode not in (None, "flat", "documented"):
        raise DataError(f"{path}: voxel_mode must be flat or documented, got {mode!r}")
    theta = _number(values, "theta", path)
    domain = values.get("light_domain")
    return SpikeConfig(
        spike_h=_size(values, "spike_h", path),
        spike_w=_size(values, "spike_w", path),
        theta=DEFAULT_THETA if theta is None else theta,
        ticks_per_frame=_optional_count(values, "ticks_per_frame", path),
        tick_rate_hz=_number(values, "tick_rate_hz", path),
        light_domain=None if domain is None else str(domain),
        byte_padded=values.get("byte_padded") is True,
        voxel_bins=_optional_count(values, "voxel_bins", path),
        voxel_mode=mode,
    )


def _size(values: Mapping[str, Any], key: str, path: Path) -> int:
    size = _optional_count(values, key, path)
    if size is None or size > MAX_SIDE:
        raise DataError(f"{path}: {key} must be a number of pixels, 1 to {MAX_SIDE}, got {size}")
    return size


def _optional_count(values: Mapping[str, Any], key: str, path: Path) -> int | None:
    value = values.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise DataError(f"{path}: {key} must be a whole number above 0, got {value!r}")
    return value


def _number(values: Mapping[str, Any], key: str, path: Path) -> float | None:
    value = values.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e12:
        raise DataError(f"{path}: {key} must be a number above 0, got {value!r}")
    return float(value)


def write_spike_config(folder: Path, values: Mapping[str, Any]) -> None:
    """Write `config.yaml` into `folder`; `values` must contain spike_h and spike_w."""
    text = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)
    replace_file(folder / FILE_NAME, text.encode())
