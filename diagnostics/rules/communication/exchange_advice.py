"""What makes communication shorter or hides it, by the exchange that takes longest."""

from collections.abc import Mapping

from diagnostics.rules.finding import Advice
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import advise

SIGN = "less communication that is not hidden"
_GRADIENTS = (
    "Exchange less often or less: accumulate gradients under `no_sync()`, compress them to 16 bits "
    "(`bf16_compress_hook`), and let buckets go out earlier (`bucket_cap_mb`, static graph); a "
    "larger batch on each rank exchanges as much for more work."
)
_SHARDS = (
    "Fetch the next shards while these are computed with (FSDP: `forward_prefetch`, "
    "`backward_prefetch`), wrap larger units so that fewer exchanges carry as much, exchange in 16 "
    "bits (`MixedPrecision`), and shard within a machine only where it has room (`HYBRID_SHARD`)."
)
_ALL_TO_ALL = (
    "An all-to-all hands each rank's results to all others (experts, sharded embeddings), so that "
    "settings of the gradients' exchange do not touch it: split the batch in parts and compute "
    "with one while the other travels, exchange in 16 bits, spread experts or tables evenly, and "
    "keep those that exchange most within a machine."
)
_COPIES = (
    "The same values go out to all ranks: leave out what need not be equal (DDP: "
    "`broadcast_buffers=False`), and send the rest outside of the steps."
)
_NEIGHBOURS = (
    "Ranks pass results on to each other: cut the batch in more parts, so that all stages of the "
    "pipeline have work, and post each receive before what it is needed for."
)
_ANY = (
    "Compute something beside it that does not need its result (`async_op=True`, `wait()` later), "
    "exchange in 16 bits, and less often."
)
_BY_COLLECTIVE: Mapping[str, str] = {
    "all_reduce": _GRADIENTS,
    "all_gather": _SHARDS,
    "reduce_scatter": _SHARDS,
    "all_to_all": _ALL_TO_ALL,
    "broadcast": _COPIES,
    "send_recv": _NEIGHBOURS,
}


def exchange_advice(trace: TraceMeasurements, exposed_ms: float) -> tuple[Advice, ...]:
    """For the exchange that takes longest; all-reduce, which DDP does, where none is named."""
    text = _BY_COLLECTIVE.get(trace.collective or "all_reduce", _ANY)
    return (advise(text, SIGN, exposed_ms),)
