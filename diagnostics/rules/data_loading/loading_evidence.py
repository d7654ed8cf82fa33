"""What the loader's own times say about a wait; nothing where they were not recorded."""

from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Evidence
from diagnostics.rules.measurements import Measurements

OTHER = "other"
_EMPTY = "fetches that found no finished batch"
_SUPPLY = "time between two batches from the loader"
_COMPUTED = "CPU time of making a batch, at most / making it"


def heaviest_part(measured: Measurements) -> tuple[str, float] | None:
    """The named part of making a batch that takes most, and its share of the making."""
    named = {name: share for name, share in measured.loading_shares.items() if name != OTHER}
    if not named:
        return None
    name = max(sorted(named), key=lambda each: named[each])
    return name, named[name]


def loading_evidence(measured: Measurements) -> tuple[Evidence, ...]:
    """How often no batch was ready, how fast the loader delivers, and what its time goes to."""
    heaviest = heaviest_part(measured)
    fields: list[tuple[str, str, float | None, str]] = [
        (_EMPTY, "fetch_empty_share", measured.fetch_empty_share, "share"),
        (_SUPPLY, "loader_supply_ms", measured.loader_supply_ms, "ms"),
        (_COMPUTED, "making_core_share", measured.making_core_share, "share"),
    ]
    if heaviest is not None:
        metric = say("{part} / making a batch", part=heaviest[0])
        fields.append((metric, "loading_shares", heaviest[1], "share"))
    return tuple(
        row(metric, value, unit, None, measured.source(field))
        for metric, field, value, unit in fields
        if value is not None
    )
