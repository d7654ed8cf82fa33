"""The declared tables about the ranks of a run and what they exchange."""

from diagnostics.table_type import Column, Table

_RANK = Column("rank", "int", "-", "Rank of the process in the training run.")

COMMUNICATION = Table(
    "communication",
    "The exchange of gradients in each step of each rank, and its waits for the other ranks.",
    (
        _RANK,
        Column("step", "int", "-", "Optimizer step."),
        Column("is_tagged", "bool", "-", "True: statistics leave the row out (first step, ...)."),
        Column("clock", "category", "-", "device (CUDA events) or host (wall clock)."),
        Column("num_buckets", "int", "-", "Buckets of gradients, each exchanged at once."),
        Column("num_bytes", "float", "bytes", "Gradients of the rank, of all buckets."),
        Column("num_exchanges", "int", "-", "Backward passes that ended in an exchange."),
        Column("ms", "float", "ms", "Time in which any exchange was under way, waits included."),
        Column("exposed_ms", "float", "ms", "The part of it after the last gradient was there."),
        Column("launch_ms", "float", "ms", "From a bucket's gradients to its exchange's launch."),
        Column("wait_ms", "float", "ms", "In the trainer's own collectives within the step."),
    ),
)

RANK_PLACES = Table(
    "rank_places",
    "Where each rank of a run with several ran.",
    (
        _RANK,
        Column("world_size", "float", "-", "Ranks of the run.", True),
        Column("local_rank", "float", "-", "Number among the ranks of its launcher.", True),
        Column("host", "text", "-", "Name of the machine, or its label.", True),
        Column("pid", "float", "-", "Process id on that machine.", True),
        Column("device", "text", "-", "What it trained on: cpu, or cuda with its number.", True),
        Column("device_name", "text", "-", "Product name of the device.", True),
    ),
)

RANK_CLOCKS = Table(
    "rank_clocks",
    "Each comparison of a rank's clock with that of rank 0.",
    (
        _RANK,
        Column("moment", "category", "-", "start or end of the training."),
        Column("at_unix_s", "float", "s", "When, by the rank's own clock."),
        Column("offset_ms", "float", "ms", "What the rank's clock shows more than rank 0's."),
        Column("uncertainty_ms", "float", "ms", "The offset's largest possible error."),
    ),
)
