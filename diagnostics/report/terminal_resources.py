"""What the machine did beside the training, for a terminal."""

from collections.abc import Iterable, Iterator, Mapping

from rich.console import RenderableType

from diagnostics.analyses.energy_use import EnergyUse
from diagnostics.analyses.gpu_load import GpuSummary
from diagnostics.analyses.resources import HostSummary, ProcessSummary
from diagnostics.analyses.sampling_quality import SamplingSummary
from diagnostics.language import listed, say
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
        yield indented(
            say(
                "{host}: CPU {cpu} % on average, {cores} core(s) allowed{disk}",
                host=host.host,
                cpu=cpu,
                cores=cores,
                disk=_disk(host),
            )
        )
        yield from _details(_suffered(host))
    for gpu in found.gpus:
        yield indented(
            say(
                "{gpu_name}: busy {mean} % on average, {peak} of {memory_total_bytes} at the peak",
                gpu_name=_gpu_name(gpu),
                mean=units.number(gpu.util_percent.mean, 0),
                peak=units.size(gpu.memory_used_bytes.peak),
                memory_total_bytes=units.size(gpu.memory_total_bytes),
            )
        )
        yield from _details(_gpu_details(gpu))
    for process in found.processes:
        yield indented(
            say(
                "{host}: {max_count} {role} process(es), {peak} resident at the peak{parts}",
                host=process.host,
                max_count=process.max_count,
                role=process.role,
                peak=units.size(process.rss_bytes.peak),
                parts=_parts(process),
            )
        )
    if found.gpus_absent_reason:
        yield indented(
            say("no GPU sampled: {gpus_absent_reason}", gpus_absent_reason=found.gpus_absent_reason)
        )
    if found.gpus:
        yield from _energy(found.energy)
    for sampling in found.sampling:
        yield indented(_sampling(sampling), style="dim")


def _parts(process: ProcessSummary) -> str:
    """What each page is worth once, where the kernel told it."""
    if not process.pss_bytes.count:
        return ""
    shm = process.pss_shm_bytes.peak
    swap = process.swap_bytes.peak
    return say(
        "; {pss} with each shared page divided{shm}{swap}",
        pss=units.size(process.pss_bytes.peak),
        shm=say(", {size} of it in shared memory", size=units.size(shm)) if shm else "",
        swap=say(", {size} in swap", size=units.size(swap)) if swap else "",
    )


def pressure_section(report: Report) -> Iterator[RenderableType]:
    """Waiting and kills on each machine, where there were any."""
    for host in report.analysis.resources.hosts:
        said = list(_suffered(host))
        if said:
            yield indented(say("{host} during the run:", host=host.host))
            yield from _details(said)


def _details(sentences: Iterable[str]) -> Iterator[RenderableType]:
    for sentence in sentences:
        yield indented(sentence, 4)


def _disk(host: HostSummary) -> str:
    read, written = host.disk_read_bytes_per_s, host.disk_write_bytes_per_s
    if read is None or written is None:
        return ""
    return say(
        ", disk {read}/s read, {written}/s written",
        read=units.size(read),
        written=units.size(written),
    )


def _suffered(host: HostSummary) -> Iterator[str]:
    """What held the machine or its container up."""
    if host.one_core_full_share is not None and host.one_core_full_share > _NEVER:
        yield (
            say(
                "one core was full and the others mostly idle in {one_core_full_share} of the time",
                one_core_full_share=units.share(host.one_core_full_share),
            )
        )
    if host.page_cache_max_bytes is not None and host.shmem_max_bytes is not None:
        yield say(
            "at the peak {cache} of files kept by the kernel, {shmem} of shared memory",
            cache=units.size(host.page_cache_max_bytes),
            shmem=units.size(host.shmem_max_bytes),
        )
    yield from _stalls("waited", host.stall_share)
    yield from _stalls("its container waited", host.cgroup_stall_share)
    if host.cgroup_cores_quota is not None:
        share = units.share(host.cgroup_throttled_share)
        quota = units.number(host.cgroup_cores_quota)
        yield say(
            "a CPU quota of {quota} core(s) held tasks back for {share} of the time, summed",
            quota=quota,
            share=share,
        )
    if host.swap_in_bytes_per_s or host.swap_out_bytes_per_s:
        yield (
            say(
                "swap: {swap_in_bytes_per_s}/s read, {swap_out_bytes_per_s}/s written",
                swap_in_bytes_per_s=units.size(host.swap_in_bytes_per_s),
                swap_out_bytes_per_s=units.size(host.swap_out_bytes_per_s),
            )
        )
    if host.oom_kills or host.cgroup_oom_kills:
        yield (
            say(
                "killed for memory during the run: {oom_kills} on the machine, "
                "{cgroup_oom_kills} in its container",
                oom_kills=host.oom_kills or 0,
                cgroup_oom_kills=host.cgroup_oom_kills or 0,
            )
        )


def _stalls(what: str, shares: Mapping[str, float]) -> Iterator[str]:
    said = [
        say("{name} {share}", name=_STALL_NAMES[name], share=units.share(share))
        for name, share in shares.items()
        if share > _NEVER
    ]
    if said:
        yield say("{what}: {said} of the time", what=what, said=listed(said))


def _gpu_name(gpu: GpuSummary) -> str:
    instance = (
        "" if gpu.mig_index is None else say(" instance {mig_index}", mig_index=gpu.mig_index)
    )
    ranks = say(" (rank {ranks})", ranks=listed(map(str, gpu.ranks))) if gpu.ranks else ""
    return say(
        "{host} GPU {index}{instance} {name}{ranks}",
        host=gpu.host,
        index=gpu.index,
        instance=instance,
        name=gpu.name or "",
        ranks=ranks,
    )


def _gpu_details(gpu: GpuSummary) -> Iterator[str]:
    active = [
        say("{name} {level} %", name=name, level=units.number(level.mean, 0))
        for name, level in (
            ("multiprocessors active", gpu.sm_active_percent),
            ("occupancy", gpu.sm_occupancy_percent),
            ("tensor cores", gpu.tensor_active_percent),
            ("memory bandwidth", gpu.dram_active_percent),
        )
        if level.count
    ]
    if active:
        yield listed(active)
    if gpu.power_w.count:
        yield (
            say(
                "{power} of {power_limit_w} W on average, {peak} C at most, cores at {clock} MHz",
                power=units.number(gpu.power_w.mean, 0),
                power_limit_w=units.number(gpu.power_limit_w, 0),
                peak=units.number(gpu.temperature_c.peak, 0),
                clock=units.number(gpu.sm_clock_mhz.median, 0),
            )
        )
    if gpu.pcie_rx_bytes_per_s.count:
        yield (
            say(
                "PCIe {received}/s to it, {sent}/s from it",
                received=units.size(gpu.pcie_rx_bytes_per_s.mean),
                sent=units.size(gpu.pcie_tx_bytes_per_s.mean),
            )
        )
    limits = [
        say("{name} {share}", name=name, share=units.share(share))
        for name, share in gpu.throttle_share.items()
        if name != "idle"
    ]
    if limits:
        yield say("clocks held down by: {limits} of the time", limits=listed(limits))
    if gpu.error is not None:
        yield say(
            "did not answer in {failed_share} of the samples: {error}",
            failed_share=units.share(gpu.failed_share),
            error=gpu.error,
        )
    if gpu.unsupported:
        yield say("not told by its driver: {unsupported}", unsupported=listed(gpu.unsupported))


def _energy(energy: EnergyUse) -> Iterator[RenderableType]:
    if energy.per_sample_j is not None:
        yield indented(
            say(
                "energy: {per_sample_j} J per sample, GPUs alone ({source})",
                per_sample_j=units.number(energy.per_sample_j, 1),
                source=energy.source,
            )
        )
    elif energy.reason is not None:
        yield indented(say("energy per sample is not known: {reason}", reason=energy.reason))


def _sampling(sampling: SamplingSummary) -> str:
    lost = (
        say(", {lost_lines} line(s) lost", lost_lines=sampling.lost_lines)
        if sampling.lost_lines
        else ""
    )
    gaps = ""
    if sampling.num_gaps:
        longest = units.number(sampling.longest_gap_s, 1)
        gaps = say(
            ", {num_gaps} gap(s), the longest {longest} s",
            num_gaps=sampling.num_gaps,
            longest=longest,
        )
    return say(
        "sampled {num_samples} time(s), every {interval_s} s; {missed} missed{gaps}{lost}; "
        "it took {core_share} of a core, {pss_core_share} for PSS",
        num_samples=sampling.num_samples,
        interval_s=units.number(sampling.interval_s),
        missed=sampling.missed or 0,
        gaps=gaps,
        lost=lost,
        core_share=units.share(sampling.core_share),
        pss_core_share=units.share(sampling.pss_core_share),
    )
