"""Every family of logs, once. A new one is a file of its own and one line here."""

from diagnostics.parsers.log_formats import (
    basicsr,
    deepspeed,
    hugging_face,
    lightning,
    megatron,
    mmengine,
    original_settings,
    original_times,
    torchtitan,
    traceml,
    vrt_spike,
)
from diagnostics.parsers.log_formats.family import LogFamily

VRT_SPIKE = LogFamily(
    name=vrt_spike.FAMILY, formats=vrt_spike.FORMATS, has_fetch=True, is_foreign=False
)
ORIGINAL = LogFamily(
    name=original_times.FAMILY,
    formats=(*original_times.FORMATS, *original_settings.FORMATS),
    has_fetch=False,
    is_foreign=False,
)

FAMILIES: tuple[LogFamily, ...] = (
    VRT_SPIKE,
    ORIGINAL,
    mmengine.FAMILY,
    basicsr.FAMILY,
    deepspeed.FAMILY,
    megatron.FAMILY,
    torchtitan.FAMILY,
    hugging_face.FAMILY,
    lightning.FAMILY,
    traceml.FAMILY,
    traceml.TITAN_METRICS,
)
"""In the order of trial."""

FORMATS = tuple(each for family in FAMILIES for each in family.formats)
"""In the order of trial: what stands in most lines first, special markers before general ones."""


def family_named(name: str | None) -> LogFamily | None:
    """The family of that name."""
    return next((family for family in FAMILIES if family.name == name), None)


def family_names() -> tuple[str, ...]:
    """The names of all families."""
    return tuple(dict.fromkeys(family.name for family in FAMILIES))
