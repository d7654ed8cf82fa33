"""What the machine did beside the training, for a terminal."""

from collections.abc import Iterable, Iterator, Mapping

from rich.console import RenderableType

from diagnostics.analyses.energy_use import EnergyUse
from diagnostics.analyses.gpu_load import GpuSummary
from diagnostics.analyses.resources import HostSummary
from diagnostics.analyses.sampling_quality import SamplingSummary
from diagnostics.report import units
from diagnostics.report.console import heading, indented
from diagnostics.report.model import Report

_STALL_NAMES = {
    "cpu_some": "some task for a core",
    "memory_some": "some task for memory",
    "memory_full": "all for memory",
    "io_some": "some task for a disk",
    "io_full": "all for a disk",
}
_NEVER = 0.0005  # prints as 0.0 %


def resources_section(report: Report) -> Iterator[RenderableType]:
    """Machines, GPUs, processes, energy, and what sampling them cost."""
    found = report.analysis.resources
    if not (found.hosts or found.gpus or found.gpus_absent_reason):
        return
    yield heading("Machine")
    for host in found.hosts:
        cpu = units.number(host.cpu_percent.mean, 0)
        cores = units.number(host.cpus_allowed, 0)
        yield indented(f"{host.host}: CPU {cpu} % on average, {cores} core(s) allowed{_disk(host)}")
        yield from _details(_suffered(host))
    for gpu in found.gpus:
        yield indented(
            f"{_gpu_name(gpu)}: busy {units.number(gpu.util_percent.mean, 0)} % on average, "
            f"{units.size(gpu.memory_used_bytes.peak)} of {units.size(gpu.memory_total_bytes)} at "
            "the peak"
        )
        yield from _details(_gpu_details(gpu))
    for process in found.processes:
        yield indented(
            f"{process.host}: {process.max_count} {process.role} process(es), "
            f"{units.size(process.rss_bytes.peak)} resident at the peak"
        )
    if found.gpus_absent_reason:
        yield indented(f"no GPU sampled: {found.gpus_absent_reason}")
    if found.gpus:
        yield from _energy(found.energy)
    for sampling in found.sampling:
        yield indented(_sampling(sampling), style="dim")


def pressure_section(report: Report) -> Iterator[RenderableType]:
    """Waiting and kills on each machine, where there were any."""
    for host in report.analysis.resources.hosts:
        said = list(_suffered(host))
        if said:
            yield indented(f"{host.host} during the run:")
            yield from _details(said)


def _details(sentences: Iterable[str]) -> Iterator[RenderableType]:
    for sentence in sentences:
        yield indented(sentence, 4)


def _disk(host: HostSummary) -> str:
    read, written = host.disk_read_bytes_per_s, host.disk_write_bytes_per_s
    if read is None or written is None:
        return ""
    return f", disk {units.size(read)}/s read, {units.size(written)}/s written"


def _suffered(host: HostSummary) -> Iterator[str]:
    """What held the machine or its container up."""
    if host.one_core_full_share is not None and host.one_core_full_share > _NEVER:
        yield (
            f"one core was full and the others mostly idle in "
            f"{units.share(host.one_core_full_share)} of the time"
        )
    yield from _stalls("waited", host.stall_share)
    yield from _stalls("its container waited", host.cgroup_stall_share)
    if host.cgroup_cores_quota is not None:
        share = units.share(host.cgroup_throttled_share)
        quota = units.number(host.cgroup_cores_quota)
        yield f"a CPU quota of {quota} core(s) held tasks back for {share} of the time, summed"
    if host.swap_in_bytes_per_s or host.swap_out_bytes_per_s:
        yield (
            f"swap: {units.size(host.swap_in_bytes_per_s)}/s read, "
            f"{units.size(host.swap_out_bytes_per_s)}/s written"
        )
    if host.oom_kills or host.cgroup_oom_kills:
        yield (
            f"killed for memory during the run: {host.oom_kills or 0} on the machine, "
            f"{host.cgroup_oom_kills or 0} in its container"
        )


def _stalls(what: str, shares: Mapping[str, float]) -> Iterator[str]:
    said = [
        f"{_STALL_NAMES[name]} {units.share(share)}"
        for name, share in shares.items()
        if share > _NEVER
    ]
    if said:
        yield f"{what}: {', '.join(said)} of the time"


def _gpu_name(gpu: GpuSummary) -> str:
    instance = "" if gpu.mig_index is None else f" instance {gpu.mig_index}"
    ranks = f" (rank {', '.join(map(str, gpu.ranks))})" if gpu.ranks else ""
    return f"{gpu.host} GPU {gpu.index}{instance} {gpu.name or ''}{ranks}"


def _gpu_details(gpu: GpuSummary) -> Iterator[str]:
    active = [
        f"{name} {units.number(level.mean, 0)} %"
        for name, level in (
            ("multiprocessors active", gpu.sm_active_percent),
            ("occupancy", gpu.sm_occupancy_percent),
            ("tensor cores", gpu.tensor_active_percent),
            ("memory bandwidth", gpu.dram_active_percent),
        )
        if level.count
    ]
    if active:
        yield ", ".join(active)
    if gpu.power_w.count:
        yield (
            f"{units.number(gpu.power_w.mean, 0)} of {units.number(gpu.power_limit_w, 0)} W on "
            f"average, {units.number(gpu.temperature_c.peak, 0)} C at most, cores at "
            f"{units.number(gpu.sm_clock_mhz.median, 0)} MHz"
        )
    if gpu.pcie_rx_bytes_per_s.count:
        yield (
            f"PCIe {units.size(gpu.pcie_rx_bytes_per_s.mean)}/s to it, "
            f"{units.size(gpu.pcie_tx_bytes_per_s.mean)}/s from it"
        )
    limits = [f"{n} {units.share(s)}" for n, s in gpu.throttle_share.items() if n != "idle"]
    if limits:
        yield f"clocks held down by: {', '.join(limits)} of the time"
    if gpu.error is not None:
        yield f"did not answer in {units.share(gpu.failed_share)} of the samples: {gpu.error}"
    if gpu.unsupported:
        yield f"not told by its driver: {', '.join(gpu.unsupported)}"


def _energy(energy: EnergyUse) -> Iterator[RenderableType]:
    if energy.per_sample_j is not None:
        yield indented(
            f"energy: {units.number(energy.per_sample_j, 1)} J per sample, GPUs alone "
            f"({energy.source})"
        )
    elif energy.reason is not None:
        yield indented(f"energy per sample is not known: {energy.reason}")


def _sampling(sampling: SamplingSummary) -> str:
    lost = f", {sampling.lost_lines} lines lost" if sampling.lost_lines else ""
    gaps = ""
    if sampling.num_gaps:
        longest = units.number(sampling.longest_gap_s, 1)
        gaps = f", {sampling.num_gaps} gap(s), the longest {longest} s"
    return (
        f"sampled {sampling.num_samples} times, every {units.number(sampling.interval_s)} s; "
        f"{sampling.missed or 0} missed{gaps}{lost}; it took {units.share(sampling.core_share)} "
        f"of a core, {units.share(sampling.pss_core_share)} for PSS"
    )
