"""The declared tables of what a loader does: each fetch, what the making consists of, copies."""

from diagnostics.table_type import Column, Table

_STEP_COLUMNS = (
    Column("rank", "int", "-", "Rank of the process in the training run."),
    Column("step", "int", "-", "Optimizer step."),
    Column(
        "is_tagged",
        "bool",
        "-",
        "True: statistics leave the row out (first step, validation, ...).",
    ),
)

FETCHES = Table(
    "fetches",
    "One row for each fetch of a batch.",
    (
        *_STEP_COLUMNS,
        Column("number", "int", "-", "Place of the fetch in its step, from 0."),
        Column("wait_ms", "float", "ms", "The host's wait for the batch."),
        Column("ready", "float", "batches", "Finished batches when it began, where told.", True),
        Column("worker", "float", "-", "The process that made the batch; none without one.", True),
        Column("samples", "float", "samples", "Samples of the batch, where it was timed.", True),
        Column("made_ms", "float", "ms", "What making the batch took in its process.", True),
        Column("queued_ms", "float", "ms", "From its end until the trainer had it.", True),
    ),
)

LOADING = Table(
    "loading",
    "What the making of a step's batches consists of; the parts sum to the fetches' made_ms.",
    (
        *_STEP_COLUMNS,
        Column("name", "category", "-", "read, decode, voxelise, augment, collate or other."),
        Column("ms", "float", "ms", "Time of the part, over all batches of the step."),
    ),
)

COPIES = Table(
    "copies",
    "What each step copied from the host to its device; no row on a CPU.",
    (
        *_STEP_COLUMNS,
        Column("bytes", "float", "bytes", "Copied in the step."),
        Column("pinned_bytes", "float", "bytes", "Of it from pinned memory."),
    ),
)
