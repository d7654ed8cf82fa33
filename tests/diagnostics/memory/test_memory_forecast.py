"""Laws of the forecast: parts sum to the need, more never needs less, advice really fits."""

from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnostics.analyses.machine_capacity import Capacity
from diagnostics.analyses.memory_changes import shared_options, with_workers
from diagnostics.analyses.memory_demand import Demand, SettingChange, demand_from_mapping
from diagnostics.analyses.memory_forecast import (
    TIGHT_SHARE,
    Forecast,
    ResourceForecast,
    forecast,
)
from diagnostics.analyses.memory_parts import cache_bytes, gpu_parts, host_parts, shared_parts
from diagnostics.errors import DiagnosticsError
from diagnostics.machine import GpuState
from tests.diagnostics.memory.demands import DEMAND, GIB, LOADER, MIB, MODEL, machine

CUDA = replace(DEMAND, device="cuda")


def loads(**changes: Any) -> Demand:
    return replace(DEMAND, loader=replace(LOADER, **changes))


def total(parts: Any) -> int:
    return sum(part.size_bytes for part in parts)


def gpu(total_gib: float, used_gib: float = 0.0) -> GpuState:
    total_bytes, used_bytes = int(total_gib * GIB), int(used_gib * GIB)
    return GpuState(index=0, memory_total_bytes=total_bytes, memory_used_bytes=used_bytes)


def resource(found: Forecast, name: str) -> ResourceForecast:
    return next(each for each in found.resources if each.resource == name)


def test_the_need_is_the_sum_of_its_parts() -> None:
    found = resource(forecast(DEMAND, machine(), ()), "host memory")
    assert found.need_bytes == total(found.parts)
    by_name = {part.name: part.size_bytes for part in found.parts}
    assert by_name["loader processes"] == 6 * (50 + 30) * MIB
    assert by_name["validation's loader processes"] == 3 * (50 + 20) * MIB
    assert by_name["batches waiting"] == ((6 * 4 + 2) * 10 + 3 * 2 * 5) * MIB
    assert by_name["optimizer state"] == 8 * MIB
    assert by_name["batch, activations, transients"] == MODEL.working_bytes


def test_shared_memory_holds_the_batches_that_wait() -> None:
    found = resource(forecast(DEMAND, machine(), ()), "shared memory")
    assert found.need_bytes == (6 * 4 * 10 + 3 * 2 * 5) * MIB


def test_the_network_counts_on_the_device_it_is_on() -> None:
    on_cpu, on_gpu = (
        {part.name for part in host_parts(each)} & {part.name for part in gpu_parts(each)}
        for each in (DEMAND, CUDA)
    )
    assert on_cpu
    assert not on_gpu
    assert [each.resource for each in forecast(CUDA, machine(), [gpu(8)]).resources] == [
        "host memory",
        "shared memory",
        "GPU memory",
    ]


def test_batches_without_a_name_need_no_dev_shm_but_the_same_memory() -> None:
    nameless = replace(DEMAND, loader=replace(DEMAND.loader, is_nameless=True))
    tiny = machine(shm_total_bytes=MIB, shm_free_bytes=0)
    found = resource(forecast(nameless, tiny, ()), "shared memory")
    assert (found.verdict, found.parts) == ("fits", ())
    assert "without a name" in str(found.reason)
    assert host_parts(nameless) == host_parts(DEMAND)


def test_pinned_batches_replace_those_in_shared_memory_and_are_larger() -> None:
    pinned = loads(pinned_train_batch_bytes=16 * MIB, pinned_val_batch_bytes=8 * MIB)
    waiting = next(p for p in host_parts(pinned) if p.name == "batches waiting")
    assert waiting.size_bytes == ((6 * 4 + 2) * 16 + 3 * 2 * 8 + 6 * 10) * MIB


def test_the_cache_is_one_budget_and_no_larger_than_the_data() -> None:
    whole = 2103 * 8 * MIB
    for ranks in (1, 4):
        assert cache_bytes(replace(DEMAND, ranks=ranks)) == whole < 20 * GIB
        small = replace(DEMAND, loader=replace(LOADER, cache_gib=4.0), ranks=ranks)
        assert cache_bytes(small) == 4 * GIB
    assert cache_bytes(loads(use_cache=False)) == 0


@settings(max_examples=40, deadline=None)
@given(
    workers=st.integers(0, 30),
    prefetch=st.integers(1, 8),
    cache=st.floats(0, 200),
    ranks=st.integers(1, 8),
)
def test_more_never_needs_less(workers: int, prefetch: int, cache: float, ranks: int) -> None:
    loader = replace(LOADER, workers_per_rank=workers, val_workers_per_rank=(workers + 1) // 2)
    base = replace(
        DEMAND,
        ranks=ranks,
        loader=replace(loader, train_prefetch=prefetch, cache_gib=cache),
    )
    held = base.loader
    grown = (
        replace(base, ranks=ranks + 1),
        replace(base, loader=replace(held, train_prefetch=prefetch + 1)),
        replace(base, loader=replace(held, cache_gib=cache + 1)),
        replace(base, loader=replace(held, train_batch_bytes=held.train_batch_bytes + 1)),
        replace(base, model=replace(MODEL, activation_bytes=3 * GIB)),
    )
    for more in grown:
        for parts in (host_parts, shared_parts, gpu_parts):
            assert total(parts(more)) >= total(parts(base))
    if workers:
        more = replace(
            base,
            loader=replace(
                held, workers_per_rank=workers + 1, val_workers_per_rank=(workers + 2) // 2
            ),
        )
        assert total(host_parts(more)) > total(host_parts(base))


@pytest.mark.parametrize(
    ("share", "verdict"),
    [(0.5, "fits"), (TIGHT_SHARE, "fits"), (0.81, "tight"), (1.0, "tight"), (1.01, "does not fit")],
)
def test_the_verdict_follows_the_share_with_what_others_use(share: float, verdict: str) -> None:
    need, used = total(host_parts(DEMAND)), 4 * GIB
    limit = round((need + used) / share)
    room = machine(memory_limit_bytes=limit, available_bytes=limit - used)
    found = resource(forecast(DEMAND, room, ()), "host memory")
    assert found.verdict == verdict
    assert found.share == pytest.approx(share)
    assert found.used_by_others_bytes == used


def check_advice(found: ResourceForecast) -> None:
    """What is proposed fits with room to spare, or is said not to."""
    assert found.limit_bytes is not None
    assert found.used_by_others_bytes is not None
    assert found.after_bytes is not None
    share = (found.used_by_others_bytes + found.after_bytes) / found.limit_bytes
    assert (share <= TIGHT_SHARE) == found.is_solved
    assert found.after_bytes < found.need_bytes


def keys(found: ResourceForecast) -> list[str]:
    return [change.key for change in found.changes]


def test_a_smaller_cache_is_proposed_first_with_its_exact_size() -> None:
    room = machine(memory_limit_bytes=20 * GIB, available_bytes=16 * GIB)
    found = resource(forecast(DEMAND, room, ()), "host memory")
    assert found.verdict == "does not fit"
    (change,) = found.changes
    assert (change.key, change.current) == ("DATA.CACHE_SIZE_GB", 20.0)
    assert isinstance(change.proposed, float)
    check_advice(found)
    again = replace(DEMAND, loader=replace(LOADER, cache_gib=change.proposed))
    assert resource(forecast(again, room, ()), "host memory").verdict == "fits"
    larger = replace(DEMAND, loader=replace(LOADER, cache_gib=change.proposed + 0.5))
    assert resource(forecast(larger, room, ()), "host memory").verdict != "fits"


def test_what_is_lowered_goes_down_to_the_guides_limits() -> None:
    """Else the guide's own finding would propose a second value for the same switch."""
    room = machine(memory_limit_bytes=20 * GIB, available_bytes=18 * GIB)
    found = resource(forecast(DEMAND, room, ()), "host memory")
    assert [change.proposed for change in found.changes] == [10.0]
    check_advice(found)
    many = replace(loads(use_cache=False, workers_per_rank=200), ranks=2)
    need = total(host_parts(many))
    tight = machine(memory_limit_bytes=need, available_bytes=need, cores=8)
    (workers,) = resource(forecast(many, tight, ()), "host memory").changes
    assert (workers.key, workers.proposed) == ("DATALOADER.TOTAL_WORKERS", 8)


def test_without_room_for_any_cache_workers_go_next() -> None:
    need = total(host_parts(loads(use_cache=False)))
    room = machine(memory_limit_bytes=int(need / 0.9), available_bytes=int(need / 0.9))
    found = resource(forecast(DEMAND, room, ()), "host memory")
    assert keys(found)[:2] == ["DATA.USE_RAM_CACHE", "DATALOADER.TOTAL_WORKERS"]
    assert found.changes[1].current == "auto"
    assert isinstance(found.changes[1].proposed, int)
    assert 1 <= found.changes[1].proposed < 6
    check_advice(found)


def test_a_cpu_may_change_the_network_and_leave_the_loader_alone() -> None:
    small = replace(DEMAND, loader=with_workers(replace(LOADER, use_cache=False), 1))
    need = total(host_parts(small))
    room = machine(memory_limit_bytes=int(need / 1.1), available_bytes=int(need / 1.1))
    found = resource(forecast(small, room, ()), "host memory")
    assert keys(found) == ["MODEL.VRT.USE_CHECKPOINT_ATTN"]
    check_advice(found)


def test_what_no_switch_can_solve_is_said() -> None:
    room = machine(memory_limit_bytes=200 * MIB, available_bytes=100 * MIB)
    found = resource(forecast(DEMAND, room, ()), "host memory")
    assert found.verdict == "does not fit"
    assert not found.is_solved
    check_advice(found)


@pytest.mark.parametrize("size", [64, 150, 280])
def test_shared_memory_takes_less_prefetch_then_fewer_workers(size: int) -> None:
    room = machine(shm_total_bytes=size * MIB, shm_free_bytes=size * MIB)
    found = resource(forecast(DEMAND, room, ()), "shared memory")
    assert keys(found)[0] == "DATALOADER.TRAIN_PREFETCH_FACTOR"
    assert set(keys(found)[1:]) <= {"DATALOADER.TOTAL_WORKERS"}
    check_advice(found)


@pytest.mark.parametrize(
    ("prefetch", "tried"),
    [
        (1, []),
        (4, [3, 2, 1]),
        (17, list(range(16, 0, -1))),
        (18, list(range(16, 0, -1))),
        (100, [50, 25, *range(16, 0, -1)]),
    ],
)
def test_small_prefetch_goes_down_one_by_one_and_large_by_halves(
    prefetch: int, tried: list[int]
) -> None:
    options = shared_options(loads(train_prefetch=prefetch, workers_per_rank=1))
    assert [option.demand.loader.train_prefetch for option in options] == tried


def test_any_prefetch_is_lowered_in_few_steps() -> None:
    options = shared_options(loads(train_prefetch=10**6, workers_per_rank=1))
    assert len(list(options)) < 50


def test_without_workers_nothing_passes_through_shared_memory() -> None:
    alone = loads(workers_per_rank=0, val_workers_per_rank=0)
    for room in (machine(), machine(shm_total_bytes=None, shm_free_bytes=None)):
        assert resource(forecast(alone, room, ()), "shared memory").verdict == "fits"


def test_a_gpu_is_judged_by_the_fullest_of_those_used() -> None:
    found = resource(
        forecast(replace(CUDA, ranks=2), machine(), [gpu(8), gpu(8, 7), gpu(1)]), "GPU memory"
    )
    assert found.used_by_others_bytes == 7 * GIB
    assert found.verdict == "does not fit"
    check_advice(found)
    assert resource(forecast(CUDA, machine(), [gpu(8)]), "GPU memory").verdict == "fits"


@pytest.mark.parametrize(
    ("room", "name"),
    [
        (machine(memory_limit_bytes=None), "host memory"),
        (machine(available_bytes=None), "host memory"),
        (machine(shm_free_bytes=None), "shared memory"),
    ],
)
def test_what_cannot_be_read_is_unknown_with_its_reason(room: Capacity, name: str) -> None:
    found = resource(forecast(DEMAND, room, ()), name)
    assert found.verdict == "unknown"
    assert found.share is None
    assert found.reason
    assert found.need_bytes > 0


def test_a_gpu_without_a_reading_is_unknown() -> None:
    blind = GpuState(index=0)
    assert resource(forecast(CUDA, machine(), [blind]), "GPU memory").verdict == "unknown"


def test_the_verdict_is_the_worst_of_the_known() -> None:
    unknown_shm = machine(shm_free_bytes=None)
    assert forecast(DEMAND, unknown_shm, ()).verdict == "fits"
    nothing = machine(memory_limit_bytes=None, shm_free_bytes=None)
    assert forecast(DEMAND, nothing, ()).verdict == "unknown"
    small = machine(shm_total_bytes=MIB, shm_free_bytes=MIB)
    assert forecast(DEMAND, small, ()).verdict == "does not fit"


def test_training_and_validation_never_count_together() -> None:
    training = MODEL.batch_bytes + MODEL.activation_bytes + MODEL.transient_bytes
    assert MODEL.working_bytes == training
    assert replace(MODEL, validation_bytes=9 * GIB).working_bytes == 9 * GIB


def test_a_demand_survives_being_plain_data() -> None:
    assert demand_from_mapping(asdict(DEMAND)) == DEMAND


@pytest.mark.parametrize("damage", [{"ranks": "two"}, {"loader": None}, {"device": "tpu"}])
def test_a_demand_of_another_version_is_one_clear_error(damage: dict[str, Any]) -> None:
    with pytest.raises(DiagnosticsError, match="does not fit this version"):
        demand_from_mapping({**asdict(DEMAND), **damage})


def test_changes_of_a_setting_are_named_once() -> None:
    room = machine(memory_limit_bytes=200 * MIB, available_bytes=100 * MIB)
    for each in forecast(DEMAND, room, ()).resources:
        names = [change.key for change in each.changes]
        assert len(names) == len(set(names))
        assert all(isinstance(change, SettingChange) for change in each.changes)
