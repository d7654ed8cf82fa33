"""What of the host's memory and of the devices' grows steadily, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType

from diagnostics.analyses.device_growth import DeviceGrowth
from diagnostics.analyses.growth_trend import GrowthTrend
from diagnostics.analyses.host_growth import HostGrowth
from diagnostics.language import say
from diagnostics.report import units
from diagnostics.report.console import indented
from diagnostics.rules.measure_growth import holder_name, tensors_name


def growth_lines(growth: HostGrowth) -> Iterator[RenderableType]:
    """A line for each memory that grows, or that none does; nothing where none was judged."""
    if growth.num_judged and not growth.growing:
        yield indented(
            say(
                "No process and no shared memory grows steadily ({judged} judged over {steps} "
                "steps).",
                judged=growth.num_judged,
                steps=growth.num_steps,
            )
        )
    for each in growth.growing:
        yield _line(holder_name(each), each.trend)


def device_growth_lines(growth: DeviceGrowth) -> Iterator[RenderableType]:
    """The same of tensors on a device, by rank."""
    if growth.num_judged and not growth.growing:
        yield indented(
            say(
                "On no GPU tensors hold steadily more ({judged} rank(s) judged over {steps} "
                "steps).",
                judged=growth.num_judged,
                steps=growth.num_steps,
            )
        )
    for each in growth.growing:
        holder = say("tensors on the GPU of {holder}", holder=tensors_name(each))
        yield _line(holder, each.trend)


def _line(holder: str, trend: GrowthTrend) -> RenderableType:
    return indented(
        say(
            "Steady growth in {holder}: {rise} from step {first:.0f} to {last:.0f}, "
            "{per_step} a step.",
            holder=holder,
            rise=units.size(trend.rise),
            first=trend.first,
            last=trend.last,
            per_step=units.size(trend.slope),
        )
    )
