"""The trainer and the tools meet in files only: what one writes, the others read, whole way."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from torch.utils.data import get_worker_info

from diagnostics.analyses.run_analysis import analyse_run
from diagnostics.load import load_run
from tests.vrtspike.conftest import SIDE, tiny_config, write_clip, write_spike_config
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.workers import allowed_cores
from vrtspike.engine.checkpoint import read_checkpoint
from vrtspike.train import main as train

ROOT = Path(__file__).resolve().parent.parent
TINY = ("--config", "config.yaml", "--device", "cpu")
RUN = (
    "TRAIN.TOTAL_STEPS=9",
    "TRAIN.BATCH_SIZE=2",
    "LOG.STAGE_EVERY_STEPS=1",
    "LOG.VAL_EVERY_STEPS=5",
    "DATA.USE_RAM_CACHE=true",
    "DATA.CACHE_SIZE_GB=0.00001",  # one picture: most look-ups miss
    "PROFILING.RESOURCES=true",
)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with a tiny data set and its configuration."""
    folder = tmp_path_factory.mktemp("contract")
    for number, name in enumerate(("train/a", "train/b", "val/c")):
        write_clip(folder / "tree" / name, frames=4, seed=number)
    write_spike_config(folder / "tree", {"spike_h": SIDE // 2, "spike_w": SIDE // 2, "theta": 2.0})
    (folder / "config.yaml").write_text(yaml.safe_dump(tiny_config("tree")))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def facts(workplace: Path) -> Path:
    """The facts of a run that finished."""
    assert train([*TINY, *RUN]) == 0
    (folder,) = (workplace / "profiles").glob("train_*")
    return folder


@pytest.fixture(scope="module")
def log(facts: Path, workplace: Path) -> Path:
    """The text log of that run."""
    (path,) = (workplace / "outputs" / "logs").glob("*.log")
    return path


@pytest.fixture
def alone(log: Path, tmp_path: Path) -> Path:
    """The text log where no facts are."""
    return Path(shutil.copy(log, tmp_path / "alone.log"))


def tool(name: str) -> Callable[[list[str]], int]:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def report(name: str, capsys: pytest.CaptureFixture[str], *paths: Path) -> dict:
    """The JSON report of a tool."""
    capsys.readouterr()
    assert tool(name)(["--json", "-", *map(str, paths)]) in (0, 3)
    return json.loads(capsys.readouterr().out)


def test_the_caches_service_is_judged(facts, capsys):
    page = report("analyze_performance", capsys, facts)
    (finding,) = [each for each in page["findings"] if each["rule"] == "DL002"]
    values = {each["metric"]: each for each in finding["evidence"]}
    stats = load_run([facts]).tables.cache_stats
    assert len(stats) == 4  # three epochs of six samples, and the end of the run
    last = stats.iloc[-1]
    assert last["hits"] + last["misses"] == 9 * 2 * 2 * 3  # steps, clips, frames, files of a frame
    assert values["cache hit rate"]["value"] == last["hits"] / (last["hits"] + last["misses"])
    assert last["used_bytes"] <= last["limit_bytes"] == int(0.00001 * 2**30)


def test_the_number_of_loading_processes_comes_with_its_reason(facts):
    plan = analyse_run(load_run([facts])).worker_plan
    assert (plan.per_rank, plan.guide_per_rank) == (0, max(4, int(0.8 * allowed_cores())))
    assert "the training process loads the data itself" in plan.worker_rule
    assert "auto only" in plan.reason
    assert plan.sample_ms is None


def test_the_log_alone_tells_the_same_of_the_cache(facts, alone):
    run = load_run([alone])
    assert run.evidence == "text log only"
    said, known = analyse_run(run).cache, analyse_run(load_run([facts])).cache
    assert (said.hits, said.misses, said.num_items) == (known.hits, known.misses, known.num_items)


def families(text: str) -> set[str]:
    """The kinds of lines: the word in brackets, else the first word; memory lines are one kind."""
    found = set()
    for line in text.splitlines():
        if "] Memory - " in line:
            found.add("Memory")
        elif head := re.match(r"\s*(?:\[(\w+)\]|(\S+))", line):
            found.add(f"[{head[1]}]" if head[1] else head[2])
    return found


@pytest.fixture(scope="module")
def described() -> set[str]:
    """The kinds of lines that docs/records.md shows."""
    section = (ROOT / "docs/records.md").read_text("utf-8").partition("## The text log\n")[2]
    quoted = re.findall(r"`(\[\w+\] [^`]*)`", section)
    return families("\n".join(re.findall(r"^    .*$", section, re.MULTILINE) + quoted))


def test_every_kind_of_line_in_a_real_log_is_described(log, described):
    kinds = families(log.read_text("utf-8"))
    assert {"step", "stages", "[train]", "[data]", "[val]", "Memory", "[end]"} <= kinds
    assert kinds <= described


def test_every_kind_of_line_that_the_trainer_can_write_is_described(described):
    """Those that no ordinary run shows are found as texts in its source."""
    written = set()
    for path in [*ROOT.glob("vrtspike/engine/*.py"), *ROOT.glob("vrtspike/profiling/*.py")]:
        if path.name != "deblurring.py":  # another command, without a log
            written |= set(re.findall(r"\"(\[[a-z]+\]) ", path.read_text("utf-8")))
    assert {"[resume]", "[error]", "[amp]", "[checkpoint]", "[numerics]"} <= written
    assert written <= described


def test_a_killed_loading_process_is_named_and_likely_want_of_memory(
    workplace, tmp_path, capsys, monkeypatch
):
    read = SpikeDeblurDataset.__getitem__

    def killed(dataset, index):
        if get_worker_info() is not None and (tmp_path / "began").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        (tmp_path / "began").touch()
        return read(dataset, index)

    monkeypatch.setattr(SpikeDeblurDataset, "__getitem__", killed)
    here = [f"LOG.SAVE_DIR={tmp_path / 'out'}", f"LOG.PROFILES_DIR={tmp_path / 'profiles'}"]
    code = train([*TINY, "DATALOADER.TOTAL_WORKERS=1", *here])
    said = capsys.readouterr().err
    assert code == 2
    assert said.startswith("error: a data loading process died: DataLoader worker (pid")
    assert said.count("\n") == 1
    (log,) = (tmp_path / "out/logs").glob("*.log")
    assert "[error] a data loading process died" in log.read_text("utf-8")
    assert "killed by signal: Killed" in said
    for source in (tmp_path / "profiles", shutil.copy(log, tmp_path / "alone.log")):
        page = report("analyze_performance", capsys, source)
        (finding,) = [each for each in page["findings"] if each["rule"] == "HM003"]
        assert "likely" in finding["summary"]
        assert finding["summary"] in page["verdict"]["text"]


def test_parts_of_a_real_run_sum_to_their_whole(facts, capsys):
    """For every step, tagged ones too; and for the means that the report shows."""
    phases = load_run([facts]).tables.phases
    by_step = phases.pivot_table(index="step", columns="name", values="ms", aggfunc="sum")
    assert len(by_step) == 9
    parts = by_step.drop(columns="step").sum(axis="columns")
    assert parts.to_numpy() == pytest.approx(by_step["step"].to_numpy(), rel=0.01)
    closures = report("analyze_performance", capsys, facts)["closures"]
    names = {each["name"] for each in closures}
    assert names == {
        "phases of the step",
        "stages of the forward",
        "stages of the backward",
    }
    assert all(each["holds"] for each in closures)


def test_the_report_says_what_loading_consists_of(facts, capsys):
    loader = report("analyze_performance", capsys, facts)["loader"]
    named = {"read", "decode", "voxelise", "augment", "collate", "other"}
    assert {part["name"] for part in loader["parts"]} == named
    assert sum(part["share"] for part in loader["parts"]) == pytest.approx(1)
    assert loader["bottleneck"] in named - {"other"}
    assert loader["num_fetches"] * 2 == loader["num_samples"] > 0  # two samples a batch
    assert (loader["queue"], loader["copies"]) == (None, None)  # no workers, no GPU


def test_the_log_alone_gives_the_same_means_within_rounding(facts, alone):
    """Lines are written for each step here, and round to a tenth of a millisecond."""
    told, known = (analyse_run(load_run([path])).breakdown for path in (alone, facts))
    assert (told.count, told.excluded) == (known.count, known.excluded)
    for said, measured in ((told.phases, known.phases), (told.stages, known.stages)):
        assert _means(said) == pytest.approx(_means(measured), abs=0.051)
    assert "vrt.stage8" in {stage.name for stage in told.stages}


def _means(parts):
    return {(part.name, getattr(part, "phase", None)): part.mean_ms for part in parts}


def test_both_tools_find_the_run_and_its_memory(facts, capsys):
    pages = [report(name, capsys, facts) for name in ("analyze_performance", "diagnose_memory")]
    assert [page["run"]["id"] for page in pages] == [facts.name, facts.name]
    sampled = {course["source"] for course in pages[0]["memory"]}
    assert "step records" in sampled
    assert pages[1]["memory"]
    assert pages[0]["step"]["count"] + pages[0]["step"]["excluded"] == 9


KILLED = """
    import os, signal, sys
    from vrtspike.engine.trainer import Trainer
    from vrtspike.train import main

    optimize = Trainer._optimize

    def killed(trainer, sums):
        if trainer.step == 1:  # within step 2
            os.kill(os.getpid(), signal.SIGKILL)
        return optimize(trainer, sums)

    Trainer._optimize = killed
    main(sys.argv[1:])
"""


def test_a_run_killed_within_a_step_is_readable_and_goes_on_where_it_was_saved(
    workplace, tmp_path, capsys
):
    here = [f"LOG.SAVE_DIR={tmp_path / 'out'}", f"LOG.PROFILES_DIR={tmp_path / 'profiles'}"]
    settings = [*TINY, *here, "LOG.CHECKPOINT_EVERY_STEPS=1", "TRAIN.TOTAL_STEPS=2"]
    script = [sys.executable, "-c", textwrap.dedent(KILLED), *settings]
    done = subprocess.run(script, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (facts,) = (tmp_path / "profiles").glob("train_*")
    run = load_run([facts])
    assert run.info.status == "running"
    assert list(run.tables.steps["step"]) == [1]
    (log,) = (tmp_path / "out/logs").glob("*.log")
    alone = load_run([Path(shutil.copy(log, tmp_path / "alone.log"))])
    assert (alone.evidence, alone.info.run_id) == ("text log only", facts.name)
    assert list(alone.tables.log_steps["step"]) == [1]
    assert report("analyze_performance", capsys, facts)["run"]["status"] == "running"
    (saved,) = (tmp_path / "out/checkpoints").glob("*/last.pt")
    assert read_checkpoint(saved).position.step == 1
    assert train([*settings, "--resume", "auto"]) == 0
    assert f"[resume] step 1 of {facts.name}" in capsys.readouterr().out
    (resumed,) = set((tmp_path / "profiles").glob("train_*")) - {facts}
    assert list(load_run([resumed]).tables.steps["step"]) == [2]
