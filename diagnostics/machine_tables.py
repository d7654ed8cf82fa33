"""The declared tables of what was sampled beside the training; part of `diagnostics.tables`."""

from diagnostics.table_type import Column, Table, numbers, sizes

_HOST = Column("host", "category", "-", "Name of the machine, as in the file's name.")
_AT = Column("at_unix_s", "float", "s", "When it was sampled, in seconds since the epoch.")
_STALLS = {
    "cpu_some": "some task waited for a core",
    "memory_some": "some task waited for memory",
    "memory_full": "every task waited for memory",
    "io_some": "some task waited for a disk",
    "io_full": "every task waited for a disk",
}


def _stalls(prefix: str, whose: str) -> tuple[Column, ...]:
    sentences = {
        f"{prefix}_{name}_us": f"Time so far in which {what}, {whose} (a counter)."
        for name, what in _STALLS.items()
    }
    return numbers("us", **sentences)


HOST = Table(
    "host",
    "One row for each sample of a machine's load; from `cpus_allowed` on about once a second.",
    (
        _HOST,
        _AT,
        *sizes(
            ram_total_bytes="Physical memory.",
            ram_available_bytes="What could be given out without swapping.",
        ),
        *numbers("%", ram_percent="Memory in use.", cpu_percent="CPU in use, of all cores."),
        *sizes(shm_total_bytes="Size of /dev/shm.", shm_used_bytes="Used of /dev/shm."),
        *numbers("cores", cpus_allowed="Cores that the process may use."),
        *sizes(
            swap_total_bytes="Size of the swap.",
            swap_used_bytes="Swap in use.",
            swap_in_bytes="Read back from swap so far (a counter).",
            swap_out_bytes="Written to swap so far (a counter).",
            page_cache_bytes="Files that the kernel keeps and gives back on demand.",
            shmem_bytes="All shared memory, in /dev/shm or without a name.",
        ),
        *numbers("processes", oom_kills="Killed for memory on the machine so far (a counter)."),
        *sizes(
            disk_read_bytes="Read from all disks so far (a counter).",
            disk_write_bytes="Written to all disks so far (a counter).",
        ),
        *_stalls("pressure", "on the machine"),
        *numbers("-", cgroup_version="1 or 2; which control groups limit the memory."),
        *sizes(
            cgroup_limit_bytes="Memory limit of the container, if below the machine's memory.",
            cgroup_used_bytes="Memory that counts against that limit.",
        ),
        *numbers("processes", cgroup_oom_kills="Killed for memory in the own group (a counter)."),
        *numbers("cores", cgroup_cores_quota="CPU quota of the group, if it has one."),
        *numbers("us", cgroup_cpu_throttled_us="Held back by that quota so far (a counter)."),
        *_stalls("cgroup_pressure", "in the own group"),
    ),
)

CORES = Table(
    "cores",
    "One row for each core about once a second.",
    (
        _HOST,
        _AT,
        Column("core", "int", "-", "Number of the core."),
        Column("cpu_percent", "float", "%", "How busy it was since the last reading."),
    ),
)

PROCESSES = Table(
    "processes",
    "One row for each process of the trainer's tree in each sample.",
    (
        _HOST,
        _AT,
        Column("pid", "int", "-", "Process id."),
        Column("role", "category", "-", "main, worker, sampler or other."),
        Column("name", "category", "-", "Name of the program."),
        *sizes(
            rss_bytes="Resident memory, pages shared with others counted in full.",
            shared_bytes="The shared part of it.",
            pss_bytes="Resident memory, shared pages divided among their users.",
            uss_bytes="Resident memory that no other process shares.",
            pss_shm_bytes="The part of `pss_bytes` in shared memory.",
            swap_bytes="Memory of the process that lies in swap.",
            written_bytes="Written to files of any kind so far (a counter).",
            storage_read_bytes="Read from disks and servers so far, not from the kernel's copies.",
        ),
        *numbers("-", rank="Rank that a launcher gave it; missing without one."),
        *numbers("%", cpu_percent="CPU; 100 is one core."),
    ),
)

GPUS = Table(
    "gpus",
    "One row for each GPU, and each instance of a divided one, in each sample, as NVML reports it.",
    (
        _HOST,
        _AT,
        Column("index", "int", "-", "Number of the GPU on its machine."),
        *numbers("-", mig_index="Number of the instance; missing for a whole GPU."),
        Column("uuid", "text", "-", "Its UUID.", True),
        Column("name", "category", "-", "Product name.", True),
        *numbers(
            "%",
            util_percent="Share of time in which any kernel ran.",
            memory_util_percent="Share of time in which its memory was read or written.",
        ),
        *sizes(
            memory_used_bytes="Used on the GPU, by all processes.",
            memory_total_bytes="Memory of the GPU.",
        ),
        *numbers("W", power_w="Power drawn.", power_limit_w="Power limit."),
        *numbers("J", energy_j="Energy used so far (a counter)."),
        *numbers("C", temperature_c="Temperature."),
        *numbers("MHz", sm_clock_mhz="Clock of the cores.", memory_clock_mhz="Memory clock."),
        *numbers("-", throttle_reasons="NVML's bit mask of clock limits."),
        *numbers(
            "bytes/s",
            pcie_tx_bytes_per_s="From the GPU over PCIe.",
            pcie_rx_bytes_per_s="To the GPU over PCIe.",
        ),
        *numbers(
            "%",
            sm_active_percent="Multiprocessors with work, on average over time (GPM).",
            sm_occupancy_percent="Resident warps, of the most there can be (GPM).",
            tensor_active_percent="Time in which tensor cores worked (GPM).",
            dram_active_percent="Memory bandwidth used, of the most there is (GPM).",
        ),
        *numbers(
            "bytes/s",
            nvlink_tx_bytes_per_s="From the GPU over all NVLinks (GPM).",
            nvlink_rx_bytes_per_s="To the GPU over all NVLinks (GPM).",
        ),
        Column("error", "text", "-", "Why the GPU could no longer be read, if so.", True),
    ),
)

SAMPLER = Table(
    "sampler",
    "What sampling itself cost: one row for each sample.",
    (
        _HOST,
        _AT,
        *numbers(
            "s",
            interval_s="Time between two samples, as planned.",
            cpu_s="CPU time of the sampler so far (a counter).",
            pss_cpu_s="The part of it that reading PSS took (a counter).",
        ),
        *numbers("samples", missed="Points of the time grid passed over so far (a counter)."),
        *numbers("lines", lost_lines="Lines that the system refused so far (a counter)."),
    ),
)
