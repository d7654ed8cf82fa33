"""The declared tables of memory that ran out; part of `diagnostics.tables`."""

from diagnostics.table_type import Column, Table, numbers, sizes

ALLOCATION_FAILURES = Table(
    "allocation_failures",
    "One row for each message that an allocation failed, with the figures that it states.",
    (
        Column("rank", "int", "-", "Rank of the process in the training run."),
        *numbers("-", step="Optimizer step, where it is known."),
        *numbers("s", at_unix_s="When, in seconds since the epoch; missing in a log."),
        Column("memory", "category", "-", "device or host: whose memory ran out."),
        *numbers("-", device_index="Number of the GPU, as the process counts them."),
        *sizes(
            requested_bytes="What was asked for, as the allocator rounded it.",
            total_bytes="Memory of the GPU.",
            free_bytes="Free on the GPU, by its driver.",
            allowed_bytes="What the process may use, where it is limited below that.",
            process_bytes="Used by the process, its CUDA context and libraries included.",
            other_bytes="Used by other processes that the message lists.",
            allocated_bytes="Held by tensors.",
            private_bytes="The part of it in pools of their own, such as CUDA graphs.",
            unallocated_bytes="Reserved by PyTorch and held by no tensor.",
        ),
        *numbers("-", largest_other_pid="The other process that uses most."),
        Column("stage", "text", "-", "Stage of the model that was running, where known.", True),
        Column("phase", "text", "-", "Phase of the step, where known.", True),
        Column("place", "text", "-", "Line of code that asked, innermost first.", True),
        Column("shapes", "text", "-", "Tensors at hand at that line, by name and shape.", True),
        Column("text", "text", "-", "The message, clipped."),
        Column("source", "text", "-", "File and line it was read from."),
    ),
)
