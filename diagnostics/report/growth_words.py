"""What of the host's memory grows steadily, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType

from diagnostics.analyses.host_growth import HostGrowth
from diagnostics.language import say
from diagnostics.report import units
from diagnostics.report.console import indented
from diagnostics.rules.measure_growth import holder_name


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
        yield indented(
            say(
                "Steady growth in {holder}: {rise} from step {first:.0f} to {last:.0f}, "
                "{per_step} a step.",
                holder=holder_name(each),
                rise=units.size(each.trend.rise),
                first=each.trend.first,
                last=each.trend.last,
                per_step=units.size(each.trend.slope),
            )
        )
