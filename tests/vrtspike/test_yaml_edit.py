"""A configuration file changed in single values: everything else stays, to the character."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vrtspike.config import load_config, parse_config
from vrtspike.errors import ConfigError
from vrtspike.yaml_edit import edited_config

CONFIGS = sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))
TEXT = """\
# Of a person who writes comments.
SEED: 7   # lucky

DATA:   # where
  ROOT: "some tree"
  CACHE_SIZE_GB: 4.0   # GiB
  TRAIN_CROP_SIZE: 64
  # nothing below

MODEL: {VRT_DEPTHS: [1, 1, 1, 1, 1, 1, 1, 1], CHANNELS_PER_SCALE: [8, 8, 8, 8], NUM_HEADS: 2,
  DEFORM_GROUPS: 2, SPIKE_TSA: {HEADS: 2}, FUSE: {HEADS: 2},
  WINDOW_SIZE: 4}
TRAIN:
    TOTAL_STEPS: 3
    OPTIM: {LR: 1.0e-3} # steep
# the end
"""


def changed_lines(before, after):
    kept = set(before.splitlines())
    return [line for line in after.splitlines() if line not in kept]


@pytest.mark.parametrize(
    ("assignment", "new"),
    [
        ("DATA.CACHE_SIZE_GB=0.5", ["  CACHE_SIZE_GB: 0.5   # GiB"]),
        ("DATA.CROP_SIZE=96", ["  TRAIN_CROP_SIZE: 96"]),
        ("DATA.USE_RAM_CACHE=true", ["  USE_RAM_CACHE: true"]),
        ("SEED=8", ["SEED: 8   # lucky"]),
        ("TRAIN.OPTIM.LR=2e-3", ["    OPTIM: {LR: 2e-3} # steep"]),
        ("TRAIN.BATCH_SIZE=2", ["    BATCH_SIZE: 2"]),
        ("TRAIN.OPTIM.WEIGHT_DECAY=0.1", ["    OPTIM: {LR: 1.0e-3, WEIGHT_DECAY: 0.1} # steep"]),
        ("TRAIN.SCHED.WARMUP_STEPS=1", ["    SCHED: {WARMUP_STEPS: 1}"]),
        ("MODEL.ATTENTION=auto", ["  WINDOW_SIZE: 4, ATTENTION: auto}"]),
        (
            "MODEL.VRT.USE_CHECKPOINT_FFN=true",
            ["  WINDOW_SIZE: 4, VRT: {USE_CHECKPOINT_FFN: true}}"],
        ),
        ("DATALOADER.TOTAL_WORKERS=3", ["DATALOADER:", "  TOTAL_WORKERS: 3"]),
        ("DATA.VAL_CROP_SIZE=null", ["  VAL_CROP_SIZE: null"]),
        ("DATA.ROOT=other", ["  ROOT: other"]),
    ],
)
def test_one_value_changes_one_line(assignment, new):
    after = edited_config(TEXT, "a.yaml", [assignment])
    assert changed_lines(TEXT, after) == new
    gone = [line for line in TEXT.splitlines() if line not in after.splitlines()]
    assert len(gone) <= 1
    assert parse_config(after, "b", ()) == parse_config(TEXT, "a", [assignment])


def test_a_value_that_is_there_already_changes_nothing():
    assert edited_config(TEXT, "a.yaml", ["SEED=7", "DATA.CACHE_SIZE_GB=4.0"]) == TEXT


def test_windows_line_ends_stay():
    text = TEXT.replace("\n", "\r\n")
    after = edited_config(text, "a.yaml", ["TRAIN.BATCH_SIZE=2", "SEED=9"])
    assert after.count("\n") == after.count("\r\n") == text.count("\n") + 1


CHANGES = {
    "DATA.CACHE_SIZE_GB": st.sampled_from(["0.5", "12"]),
    "DATA.USE_RAM_CACHE": st.sampled_from(["true", "false"]),
    "DATA.CROP_SIZE": st.sampled_from(["64", "128"]),
    "DATA.VAL_CROP_SIZE": st.sampled_from(["64", "null"]),
    "DATALOADER.TOTAL_WORKERS": st.sampled_from(["auto", "3"]),
    "DATALOADER.TRAIN_PREFETCH_FACTOR": st.sampled_from(["1", "5"]),
    "TRAIN.BATCH_SIZE": st.sampled_from(["1", "3"]),
    "TRAIN.GRADIENT_ACCUMULATION_STEPS": st.sampled_from(["2", "8"]),
    "TRAIN.AMP_ENABLED": st.sampled_from(["true", "false"]),
    "MODEL.VRT.USE_CHECKPOINT_ATTN": st.sampled_from(["true", "false"]),
    "MODEL.ATTENTION": st.sampled_from(["auto", "explicit"]),
    "PROFILING.RESOURCES": st.sampled_from(["true", "false"]),
}


@settings(max_examples=60, deadline=None)
@given(
    path=st.sampled_from(CONFIGS),
    chosen=st.sets(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=6),
    data=st.data(),
)
def test_what_the_advice_changes_can_be_changed_in_every_configuration_of_ours(path, chosen, data):
    assignments = [f"{key}={data.draw(CHANGES[key])}" for key in sorted(chosen)]
    text = path.read_text("utf-8")
    after = edited_config(text, path.name, assignments)
    assert parse_config(after, "new", ()) == load_config(path, assignments)
    assert edited_config(after, "new", assignments) == after
    comments = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert [line for line in after.splitlines() if line.lstrip().startswith("#")] == comments


@pytest.mark.parametrize(
    ("text", "assignment"),
    [
        ("SEED: &n 7\nDATA: {ROOT: x}\nTRAIN: {TOTAL_STEPS: *n}\n", "SEED=8"),
        ("SEED: 7\nDATA: {ROOT: x}\nTRAIN: {TOTAL_STEPS: 3}\n...\n", "DATALOADER.TOTAL_WORKERS=1"),
    ],
)
def test_what_would_change_more_is_refused(text, assignment):
    with pytest.raises(ConfigError, match="by hand"):
        edited_config(text, "a.yaml", [assignment])


@pytest.mark.parametrize(
    ("text", "assignment", "said"),
    [
        (TEXT, "DATA.CACHE_SIZE=1", "unknown key"),
        (TEXT, "SEED=x", "whole number"),
        ("SEED: [\n", "SEED=1", "not valid YAML"),
    ],
)
def test_mistakes_are_those_of_any_configuration(text, assignment, said):
    with pytest.raises(ConfigError, match=said):
        edited_config(text, "a.yaml", [assignment])


def test_yaml_reads_what_is_written_as_the_same_data():
    after = edited_config(TEXT, "a.yaml", ["DATALOADER.TOTAL_WORKERS=3", "TRAIN.BATCH_SIZE=2"])
    loaded = yaml.safe_load(after)
    assert loaded["DATALOADER"] == {"TOTAL_WORKERS": 3}
    assert loaded["TRAIN"]["BATCH_SIZE"] == 2
    assert after.endswith("# the end\nDATALOADER:\n  TOTAL_WORKERS: 3\n")
