"""How the data set's cache served, for a terminal: one line."""

from collections.abc import Iterator

from rich.console import RenderableType

from diagnostics.analyses.cache_use import CacheUse
from diagnostics.language import say
from diagnostics.report import units
from diagnostics.report.console import heading, indented


def cache_part(found: CacheUse | None) -> Iterator[RenderableType]:
    """Nothing where no cache told of itself."""
    if found is None:
        return
    yield heading("The data set's cache")
    yield indented(_use(found))


def _use(found: CacheUse) -> str:
    evicted, refused, no_room = found.evicted or 0, found.refused or 0, found.no_room or 0
    return say(
        "{look_ups}{used} of {limit} in use{caches}{evicted}{refused}{no_room}.",
        look_ups=_look_ups(found),
        used=units.size(found.used_bytes),
        limit=units.size(found.limit_bytes),
        caches=say(" in {count} caches", count=found.num_caches) if found.num_caches > 1 else "",
        evicted=say("; {count} item(s) left for others", count=int(evicted)) if evicted else "",
        refused=say("; {count} item(s) larger than all of it not kept", count=int(refused))
        if refused
        else "",
        no_room=say(
            "; {count} item(s) not kept: no room in its memory or folder", count=int(no_room)
        )
        if no_room
        else "",
    )


def _look_ups(found: CacheUse) -> str:
    if found.hits is None or found.misses is None:
        return ""
    return say(
        "{hits} hit(s), {misses} miss(es) ({hit_share} hits); ",
        hits=int(found.hits),
        misses=int(found.misses),
        hit_share=units.share(found.hit_share),
    )
