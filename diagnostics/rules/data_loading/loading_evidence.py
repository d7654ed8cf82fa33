"""What the loader's own times say about a wait; nothing where they were not recorded."""

from diagnostics.language import say
from diagnostics.rules.finding import Evidence
from diagnostics.rules.measurements import Measurements

OTHER = "other"


def heaviest_part(measured: Measurements) -> tuple[str, float] | None:
    """The named part of making a batch that takes most, and its share of the making."""
    named = {name: share for name, share in measured.loading_shares.items() if name != OTHER}
    if not named:
        return None
    name = max(sorted(named), key=lambda each: named[each])
    return name, named[name]


def loading_evidence(measured: Measurements) -> tuple[Evidence, ...]:
    """How often no batch was ready, how fast the loader delivers, and what its time goes to."""
    found = []
    if measured.fetch_empty_share is not None:
        found.append(
            Evidence(
                metric="fetches that found no finished batch",
                value=measured.fetch_empty_share,
                unit="share",
                source=measured.source("fetch_empty_share"),
            )
        )
    if measured.loader_supply_ms is not None:
        found.append(
            Evidence(
                metric="time between two batches from the loader",
                value=measured.loader_supply_ms,
                unit="ms",
                source=measured.source("loader_supply_ms"),
            )
        )
    if measured.making_core_share is not None:
        found.append(
            Evidence(
                metric="CPU time of making a batch, at most / making it",
                value=measured.making_core_share,
                unit="share",
                source=measured.source("making_core_share"),
            )
        )
    heaviest = heaviest_part(measured)
    if heaviest is not None:
        found.append(
            Evidence(
                metric=say("{part} / making a batch", part=heaviest[0]),
                value=heaviest[1],
                unit="share",
                source=measured.source("loading_shares"),
            )
        )
    return tuple(found)
