"""The declared tables: everything the analyses know about a run.

Parsers fill and validate them, analyses read them and open no file. `python -m diagnostics.tables`
prints them as `docs/tables.md`. A row that stands for several steps says how many in `num_steps`
(1 from facts; a window of a text log is a mean over more).
"""

import sys

from diagnostics.loading_tables import COPIES, DATA_SETS, FETCHES, LOADING, WORKER_PLANS
from diagnostics.machine_tables import CORES as CORES
from diagnostics.machine_tables import GPUS as GPUS
from diagnostics.machine_tables import HOST as HOST
from diagnostics.machine_tables import PROCESSES as PROCESSES
from diagnostics.machine_tables import SAMPLER as SAMPLER
from diagnostics.memory_tables import ALLOCATION_FAILURES
from diagnostics.rank_tables import COMMUNICATION as COMMUNICATION
from diagnostics.rank_tables import RANK_CLOCKS as RANK_CLOCKS
from diagnostics.rank_tables import RANK_PLACES as RANK_PLACES
from diagnostics.table_type import Column, Table, render_markdown
from diagnostics.table_type import numbers as _numbers
from diagnostics.table_type import sizes as _sizes

_RANK = Column("rank", "int", "-", "Rank of the process in the training run.")
_STEP = Column("step", "int", "-", "Optimizer step; of a window, its last.")
_NULLABLE_STEP = Column("step", "float", "-", "Optimizer step, where one is stated.", True)
_NUM_STEPS = Column("num_steps", "int", "steps", "How many steps the row is the mean of.")
_IS_TAGGED = Column(
    "is_tagged", "bool", "-", "True: statistics leave the row out (first step, validation, ...)."
)
_CLOCK = Column("clock", "category", "-", "device (CUDA events) or host (wall clock).")
_NULLABLE_AT = Column("at_unix_s", "float", "s", "When it happened, where known.", True)

PHASES = Table(
    "phases",
    "Time of each phase of each step; the phases of one clock sum to the row named `step`.",
    (
        _RANK,
        _STEP,
        Column("name", "category", "-", "data_wait, h2d, forward, ..., other; step is the whole."),
        _CLOCK,
        Column("ms", "float", "ms", "Time of the phase in one step."),
        _NUM_STEPS,
        _IS_TAGGED,
    ),
)

STAGES = Table(
    "stages",
    "Time of each stage of each step; those of the forward sum to the forward of the same clock, "
    "those of backward and recompute together to the backward.",
    (
        _RANK,
        _STEP,
        Column(
            "name",
            "category",
            "-",
            "Dotted name of the stage, or forward.other and the like.",
        ),
        Column("phase", "category", "-", "forward, backward or recompute."),
        _CLOCK,
        Column("ms", "float", "ms", "Time of the stage in one step, over all its micro-batches."),
        Column("calls", "float", "calls", "How often it ran in the step; unknown in a log.", True),
        _NUM_STEPS,
        _IS_TAGGED,
        *_sizes(
            peak_allocated_bytes="Most held by tensors while it ran; known in sampled steps only."
        ),
    ),
)

STEPS = Table(
    "steps",
    "One row for each optimizer step of each rank, or for each window of a text log.",
    (
        _RANK,
        _STEP,
        _NUM_STEPS,
        _IS_TAGGED,
        Column("tags", "category", "-", "Comma-separated, each tagged step's; empty without any."),
        Column("num_tagged", "int", "steps", "Steps of the row that its means leave out."),
        _CLOCK,
        Column("start_unix_s", "float", "s", "Host time at the start; unknown in a log.", True),
        *_numbers("-", micro_batches="Forward passes of the step."),
        *_numbers("samples", samples="Clips of this rank in one step (facts)."),
        *_numbers(
            "-",
            loss="Training loss.",
            lr="Learning rate.",
            grad_norm="Norm of the gradient before clipping.",
        ),
        Column("nonfinite", "text", "-", "Comma-separated: loss, grad_norm that were NaN.", True),
        *_sizes(
            process_rss_bytes="Resident memory of the rank's process at the end of the step.",
            device_allocated_bytes="Held by tensors on the device at the end of the step.",
            device_reserved_bytes="Held by the allocator at the end of the step.",
            device_peak_allocated_bytes="Most held by tensors during the step.",
            device_peak_reserved_bytes="Most held by the allocator during the step.",
        ),
        *_numbers("-", device_alloc_retries="Allocations retried after a flush, so far."),
        *_sizes(device_inactive_split_bytes="Held in split blocks that no tensor uses."),
        Column("device_peak_phase", "text", "-", "Phase in which the peak was, if sampled.", True),
        Column("device_peak_stage", "text", "-", "Its stage, if the peak was in one.", True),
        *_numbers("ms", recorder_ms="What the recorder itself spent on the host, within the step."),
    ),
)

SPANS = Table(
    "spans",
    "What took time outside the steps: validation, checkpoints, data set creation.",
    (
        _RANK,
        Column("name", "category", "-", "validation, checkpoint, ..."),
        _STEP,
        Column("start_unix_s", "float", "s", "Host time at the start.", True),
        Column("ms", "float", "ms", "Wall-clock duration on the host; unknown in a log.", True),
        Column("values", "mapping", "-", "What the recorder noted beside it, by name."),
    ),
)

EVENTS = Table(
    "events",
    "Points in time worth knowing: NaN, out of memory, cache statistics, warnings, the end.",
    (
        _RANK,
        Column("name", "category", "-", "numerics, oom, cache, memory_warning, end, ..."),
        _NULLABLE_STEP,
        _NULLABLE_AT,
        Column("values", "mapping", "-", "What was noted beside it, by name; `text` from a log."),
        Column("source", "text", "-", "File and line it was read from."),
    ),
)

LOG_STEPS = Table(
    "log_steps",
    "What the step lines of a text log state, as printed.",
    (
        _RANK,
        _STEP,
        *_numbers("steps", total_steps="Planned length of the run."),
        *_numbers(
            "-",
            loss="Total loss.",
            charb="Charbonnier part of the loss.",
            vgg="Perceptual part of the loss.",
            lr="Learning rate.",
            grad_norm="Norm of the gradient.",
        ),
        *_sizes(gpu_memory_bytes="The GPU memory of the line."),
        *_numbers("samples/s", samples_per_s="Throughput, as the line states it."),
        *_numbers("tokens/s", tokens_per_s="Tokens, as the line states them (of one device)."),
        *_numbers(
            "ms",
            data_time_ms="data_time, as the line states it (the original's leaves the fetch out).",
            step_time_ms="step_time, as the line states it.",
        ),
    ),
)

PROGRESS = Table(
    "progress",
    "The progress and end lines of a text log.",
    (
        _STEP,
        *_numbers("steps", total_steps="Planned length of the run."),
        *_numbers("s", elapsed_s="Since the start of the process.", eta_s="Left, as printed."),
    ),
)

MEMORY_LINES = Table(
    "memory_lines",
    "The memory lines of a text log.",
    (
        Column("label", "text", "-", "What stands in the brackets: `Step 100`."),
        _NULLABLE_STEP,
        *_sizes(process_rss_bytes="Memory of the process tree (original: of rank 0 alone)."),
        *_numbers("%", process_percent="The same, of the machine's memory."),
        *_sizes(system_used_bytes="Used on the machine.", system_total_bytes="Physical memory."),
        *_numbers("%", system_percent="Used on the machine."),
        *_sizes(
            gpu_allocated_bytes="Held by tensors on the device.",
            gpu_reserved_bytes="Held by the allocator.",
        ),
    ),
)

VALIDATIONS = Table(
    "validations",
    "Each validation: quality of the output, and of the blurry input where it was measured.",
    (
        _STEP,
        *_numbers("dB", psnr_rgb_db="PSNR over RGB.", psnr_y_db="PSNR of the luma."),
        *_numbers("-", ssim_y="SSIM of the luma."),
        *_numbers("dB", input_psnr_rgb_db="PSNR over RGB of the blurry input."),
        *_numbers("ms", ms="Duration; unknown in a log."),
    ),
)

CACHE_STATS = Table(
    "cache_stats",
    "Statistics of the data set's cache, whenever they were printed or recorded.",
    (
        _RANK,
        _NULLABLE_STEP,
        *_numbers("items", num_items="Items held."),
        *_sizes(used_bytes="Memory held.", limit_bytes="Budget of the cache."),
        *_numbers("-", hits="Look-ups served from the cache.", misses="Look-ups that read files."),
        *_numbers(
            "items",
            evicted="Items that left for others.",
            refused="Items that were not kept: larger than the budget.",
            no_room="Items that were not kept: the system had no room for them.",
        ),
        *_numbers(
            "-", first_rank="Lowest of the ranks that share the cache; rows that name it count it."
        ),
    ),
)

ALL_TABLES = (
    PHASES,
    STAGES,
    STEPS,
    SPANS,
    EVENTS,
    HOST,
    CORES,
    PROCESSES,
    GPUS,
    SAMPLER,
    LOG_STEPS,
    PROGRESS,
    MEMORY_LINES,
    VALIDATIONS,
    CACHE_STATS,
    FETCHES,
    LOADING,
    COPIES,
    WORKER_PLANS,
    DATA_SETS,
    COMMUNICATION,
    RANK_PLACES,
    RANK_CLOCKS,
    ALLOCATION_FAILURES,
)

if __name__ == "__main__":
    sys.stdout.write(render_markdown(ALL_TABLES))
