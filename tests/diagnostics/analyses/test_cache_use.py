"""How the cache served: what ranks share counts once, what each has of its own is summed."""

import io
import json

import pytest

from diagnostics import tables as declared
from diagnostics.analyses.cache_use import compute_cache_use
from diagnostics.language import speaking
from diagnostics.load import load_run
from diagnostics.rank_tables import RANK_PLACES
from diagnostics.report.build import build_report
from diagnostics.report.json_report import to_mapping
from diagnostics.report.terminal import render_terminal
from diagnostics.run import RunInfo
from tests.diagnostics.factories import make_run, run_of, write_facts, write_lines

BUDGET_GIB = 0.003
BUDGET = int(BUDGET_GIB * 2**30)
BY_CONFIG = RunInfo(config={"DATA": {"CACHE_SIZE_GB": BUDGET_GIB}})


def row(rank, hits, misses, *, used=12, limit=20, step=200.0, **more):
    held = {"num_items": 6, "used_bytes": used, "limit_bytes": limit, "hits": hits}
    return {"rank": rank, "step": step, "misses": misses, **held, **more}


def use_of(*rows, info=None, hosts=None):
    """What is computed of such statistics, in the order in which facts are read."""
    given = {} if info is None else {"info": info}
    if hosts is not None:
        places = [{"rank": rank, "host": host} for rank, host in enumerate(hosts)]
        given["rank_places"] = RANK_PLACES.from_records(places)
    table = declared.CACHE_STATS.from_records(sorted(rows, key=lambda each: each["rank"]))
    return compute_cache_use(run_of(cache_stats=table, **given))


def test_it_is_that_of_the_last_look_ups():
    rows = [row(0, 3, 1, step=100.0), row(0, 30, 10), row(0, None, None, step=None)]
    use = use_of(*rows)
    assert (use.hit_share, use.step, use.num_caches) == (0.75, 200, 1)
    assert compute_cache_use(run_of()) is None
    assert use_of(rows[2]).hit_share is None


def test_a_cache_that_ranks_share_counts_once_by_its_newest_statistics():
    shared = [row(0, 140, 109, first_rank=0), row(1, 138, 109, used=11, first_rank=0)]
    for rows in (shared, [{**each, "rank": 1 - each["rank"]} for each in shared]):
        use = use_of(row(0, 3, 1, step=100.0, first_rank=0), *rows)
        assert (use.hits, use.misses, use.num_caches) == (140, 109, 1)
        assert (use.num_items, use.used_bytes, use.limit_bytes) == (6, 12, 20)


def test_several_machines_and_ranks_with_a_cache_of_their_own_are_summed():
    machines = [row(rank, 10 * (1 + rank), 30, first_rank=rank // 2 * 2) for rank in range(4)]
    use = use_of(*machines)
    assert (use.num_caches, use.hits, use.misses) == (2, 20 + 40, 60)
    assert (use.used_bytes, use.limit_bytes, use.hit_share) == (24, 40, 0.5)
    assert (use.machine_used_bytes, use.machine_limit_bytes) == (24, 40)  # nobody says where
    placed = use_of(*machines[:2], row(2, 1, 1, used=16, first_rank=2), hosts=["a", "a", "b"])
    assert (placed.used_bytes, placed.machine_used_bytes, placed.machine_limit_bytes) == (
        28,
        16,
        20,
    )
    own = use_of(*(row(rank, 10 * (1 + rank), 30, first_rank=rank) for rank in range(4)))
    assert (own.num_caches, own.hits, own.limit_bytes) == (4, 100, 80)
    parts = (row(rank, 1, 1, used=10 + rank, first_rank=rank) for rank in range(4))
    placed = use_of(*parts, hosts=["a", "b", "a", "b"])
    assert (placed.machine_used_bytes, placed.machine_limit_bytes) == (24, 40)


def test_of_facts_that_do_not_say_whose_they_are_the_whole_budget_is_a_machines():
    rows = [row(rank, 140 - rank, 109, limit=BUDGET) for rank in range(4)]
    assert use_of(*rows, info=BY_CONFIG).hits == 140
    two = use_of(*rows, info=BY_CONFIG, hosts=["a", "a", "b", "b"])
    assert (two.num_caches, two.hits, two.limit_bytes) == (2, 140 + 138, 2 * BUDGET)
    parts = [row(rank, 10, 30, limit=BUDGET // 2) for rank in range(2)]
    assert use_of(*parts, info=BY_CONFIG).num_caches == 2
    assert use_of(*rows).num_caches == 4  # nothing tells of the budget


@pytest.mark.parametrize("data", [None, 3, {}, {"CACHE_SIZE_GB": "much"}, {"CACHE_SIZE_GB": True}])
def test_a_configuration_that_states_no_budget_is_none(data):
    assert use_of(row(0, 1, 1), row(1, 1, 1), info=RunInfo(config={"DATA": data})).num_caches == 2
    endless = RunInfo(config={"DATA": {"CACHE_SIZE_GB": 1e999}})
    assert use_of(row(0, 1, 1), info=endless).num_caches == 1


@pytest.fixture
def folder(tmp_path):
    """A run of two ranks that share a cache of 3 MiB."""
    write_facts(tmp_path, make_run(6))
    for rank in (0, 1):
        values = {"first_rank": 0, "num_items": 29, "used_bytes": 3162112, "limit_bytes": BUDGET}
        values |= {"hits": 140, "misses": 109, "evicted": 80, "refused": 1, "no_room": 7}
        event = {"kind": "event", "name": "cache_stats", "step": 6, "at_unix_s": 1.0}
        path = tmp_path / f"spans.rank{rank}.jsonl"
        before = path.read_text("utf-8").splitlines() if path.exists() else []
        write_lines(path, [*before, json.dumps({**event, "values": values})])
    return tmp_path


def test_every_report_states_it_once(folder):
    report = build_report(load_run([folder]))
    cache = to_mapping(report)["cache"]
    assert (cache["hits"], cache["misses"], cache["limit_bytes"]) == (140, 109, BUDGET)
    assert (cache["evicted"], cache["refused"], cache["num_caches"]) == (80, 1, 1)
    assert cache["no_room"] == 7
    assert (
        "140 hits, 109 misses (56.2% hits); 3.02 MiB of 3.07 MiB in use; 80 items left for others; "
        "1 item larger than all of it not kept; 7 items not kept: no room in its memory or folder."
        in printed(report)
    )
    with speaking("zh"):
        assert "命中 140 次，未命中 109 次（命中率 56.2%）；已用 3.02 MiB / 3.07 MiB；" in printed(
            report
        )


def printed(report):
    stream = io.StringIO()
    render_terminal(report, stream, 240, False)
    return stream.getvalue()
