"""The declared tables of what a loader does: each fetch, what the making consists of, copies."""

from diagnostics.table_type import Column, Table
from diagnostics.table_type import numbers as _numbers

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
        Column("is_first", "float", "-", "1 right after a start of the loader, else 0.", True),
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

DATA_SETS = Table(
    "data_sets",
    "What the training set holds, as each rank said before its first step.",
    (
        Column("rank", "int", "-", "Rank of the process in the training run."),
        *_numbers("samples", train_samples="Samples of a whole epoch, all ranks together."),
        *_numbers(
            "frames",
            train_frames="Different frames of which the samples are made.",
            frame_reads="Frames that an epoch reads: one that samples share counts for each.",
        ),
        *_numbers(
            "bytes",
            file_bytes="Files of all those frames.",
            decoded_bytes="The same as a cache keeps them: two pictures and the spikes.",
        ),
        *_numbers(
            "micro-batches",
            micro_batches_per_epoch="An epoch of one rank.",
            micro_batches_per_step="Of one optimizer step.",
            first_micro_batch="Those of its epoch that earlier runs have used.",
        ),
        *_numbers("-", first_epoch="The epoch in which the run begins; 0 is a training's first."),
    ),
)

WORKER_PLANS = Table(
    "worker_plans",
    "How each rank came to its number of loading processes, before the first step.",
    (
        Column("rank", "int", "-", "Rank of the process in the training run."),
        *_numbers(
            "processes",
            per_rank="Loading processes of the rank.",
            needed_per_rank="So many keep up with the steps, where both prices were known.",
            guide_per_rank="What the performance guide's own rule would give.",
            limit_per_rank="What the cores leave when each rank keeps one.",
        ),
        *_numbers("samples", samples_timed="Samples timed for it.", samples_per_step="Of a rank."),
        *_numbers(
            "ms",
            sample_ms="Making one sample, nothing of it cached.",
            sample_cpu_ms="Of it on a core.",
            slowest_sample_ms="The longest that was timed.",
            timing_ms="What the timing took.",
            step_ms="A step without its wait for data, in an earlier run.",
        ),
        Column("part_ms", "mapping", "ms", "The parts of sample_ms, by name; they sum to it."),
        Column("worker_rule", "text", "-", "The choice in words.", True),
        Column("reason", "text", "-", "Why the number needed is not known.", True),
    ),
)
