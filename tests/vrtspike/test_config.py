"""The configuration: what is accepted, and one clear line for everything else."""

from pathlib import Path

import pytest

from vrtspike.config import Config, config_from_mapping, config_to_mapping, load_config
from vrtspike.errors import ConfigError

MINIMAL = "DATA:\n  ROOT: clips\nTRAIN:\n  EPOCHS: 3\n"


@pytest.fixture
def write(tmp_path: Path):
    def write_config(text: str) -> Path:
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_config


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_mapping_round_trip_keeps_every_value(write):
    config = load_config(write(MINIMAL), ["MODEL.WINDOW_SIZE=[2,4,4]", "DATA.CROP_SIZE=64"])
    assert config_from_mapping(config_to_mapping(config), "checkpoint") == config


def test_number_without_a_dot_is_a_number(write):
    config = load_config(write(MINIMAL + "  OPTIM: {LR: 1e-4}\n"))
    assert config.train.optim.lr == 1e-4


@pytest.mark.parametrize(("word", "value"), [("on", True), ("off", False), ("true", True)])
def test_yaml_words_for_truth_are_read_where_truth_is_due(write, word, value):
    config = load_config(write(MINIMAL + f"  AMP_ENABLED: {word}\n"))
    assert config.train.amp_enabled is value


def test_word_off_stays_text_where_text_is_due(write):
    config = load_config(write("DATA:\n  ROOT: off\nTRAIN:\n  EPOCHS: 3\n"))
    assert config.data.root == "off"


def test_duplicate_key_names_its_line(write):
    assert "run.yaml:5: 'TRAIN.EPOCHS' is set twice" in message(write(MINIMAL + "  EPOCHS: 4\n"))


def test_alias_beside_its_key_counts_as_duplicate(write):
    text = MINIMAL.replace("clips\n", "clips\n  CROP_SIZE: 64\n  TRAIN_CROP_SIZE: 128\n")
    assert "set twice" in message(write(text))


def test_override_wins_over_an_alias_in_the_file(write):
    text = MINIMAL.replace("clips\n", "clips\n  TRAIN_CROP_SIZE: 128\n")
    assert load_config(write(text), ["DATA.CROP_SIZE=64"]).data.crop_size == 64


def test_unknown_key_gives_line_path_and_nearest(write):
    text = message(write(MINIMAL + "  BATCH_SIZES: 2\n"))
    assert "run.yaml:5: unknown key 'TRAIN.BATCH_SIZES' (did you mean 'BATCH_SIZE'?)" in text


def test_missing_key_is_named(write):
    assert "missing key 'DATA.ROOT'" in message(write("DATA: {}\nTRAIN: {EPOCHS: 1}\n"))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("TRAIN.BATCH_SIZE=two", "'TRAIN.BATCH_SIZE' must be a whole number, got 'two'"),
        ("TRAIN.BATCH_SIZE=1.5", "'TRAIN.BATCH_SIZE' must be a whole number"),
        ("TRAIN.BATCH_SIZE=0", "'TRAIN.BATCH_SIZE': must be at least 1"),
        ("TRAIN.OPTIM.LR=.nan", "must be a number"),
        ("TRAIN.OPTIM.LR=inf", "must be a finite number"),
        ("MODEL.ATTENTION=fuse", "did you mean 'fused'?"),
        ("MODEL.NUM_HEADS=5", "5 does not divide the 96 channels"),
        ("MODEL.VRT_DEPTHS=[8,8]", "'MODEL.VRT_DEPTHS': needs 7 stage depths"),
        ("DATA.CROP_SIZE=100", "'DATA.CROP_SIZE': must be a multiple of 8"),
        ("SEED.X=1", "'SEED' must be a whole number"),
        ("TRAIN=3", "'TRAIN' must be a mapping"),
        ("EPOCHS", "is not of the form KEY.PATH=VALUE"),
        ("LOSS.VGG_PERCEPTUAL.WEIGHT=0.1", "needs a file of VGG-16 weights"),
        ("DATA.VAL_CROP_SIZE=abc", "must be a whole number or null"),
        ("SEED=-1", "'SEED': must not be negative"),
        ("TRAIN.TOTAL_STEPS=1" + "0" * 30, "must be a whole number of at most 64 bits"),
        ("SEED=1" + "0" * 400, "must be a whole number of at most 64 bits"),
        ("DATALOADER.TOTAL_WORKERS=100000", "'DATALOADER.TOTAL_WORKERS': must be at most 1024"),
        (
            "DATALOADER.TRAIN_PREFETCH_FACTOR=1025",
            "'DATALOADER.TRAIN_PREFETCH_FACTOR': must be at most 1024, got 1025; each is a batch",
        ),
        (
            "DATALOADER.VAL_PREFETCH_FACTOR=1000000",
            "'DATALOADER.VAL_PREFETCH_FACTOR': must be at most 1024, got 1000000; each is a batch",
        ),
        ("DATA.CACHE_SIZE_GB=1e308", "'DATA.CACHE_SIZE_GB': must be at most 1073741824"),
        ("MODEL.CHANNELS_PER_SCALE=[0,0,0,0]", "must be positive"),
        ("MODEL.WINDOW_SIZE=0", "'MODEL.WINDOW_SIZE': must be positive, got 0"),
        ("MODEL.WINDOW_SIZE=[4,-1,4]", "'MODEL.WINDOW_SIZE': must be positive"),
        ("MODEL.WINDOW_SIZE=[]", "'MODEL.WINDOW_SIZE': must be positive"),
        ("MODEL.FUSE.MLP_RATIO=1e308", "'MODEL.FUSE.MLP_RATIO': must be at most 64"),
        ("PROFILING.RESOURCE_INTERVAL_S=1e300", "must lie in [0.05, 3600]"),
        ('LOG.SAVE_DIR="a\\0b"', "must be text without the character U+0000"),
        (
            "LOSS.VGG_PERCEPTUAL={WEIGHT: 1, LAYERS: [], WEIGHTS_PATH: x}",
            "'LOSS.VGG_PERCEPTUAL.LAYERS': at least one is needed",
        ),
    ],
)
def test_bad_override_is_one_line_that_blames_the_command_line(write, override, expected):
    text = message(write(MINIMAL), override)
    assert expected in text
    assert text.startswith("command line: ")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), "run.yaml:5: 'TRAIN.BATCH_SIZE': must be at least 1, got 0"),
        (("TRAIN.EPOCHS=2",), "run.yaml:5: 'TRAIN.BATCH_SIZE': must be at least 1, got 0"),
        (("TRAIN.BATCH_SIZE=-1",), "command line: 'TRAIN.BATCH_SIZE': must be at least 1, got -1"),
    ],
)
def test_a_failed_check_names_the_line_of_the_value_or_the_command_line(write, overrides, expected):
    assert message(write(MINIMAL + "  BATCH_SIZE: 0\n"), *overrides).endswith(expected)


def test_a_check_of_two_values_blames_the_one_that_the_command_line_changed(write):
    path = write(MINIMAL + "MODEL:\n  NUM_HEADS: 6\n")
    text = message(path, "MODEL.CHANNELS_PER_SCALE=[96,96,96,100]")
    assert text.startswith("command line: 'MODEL.NUM_HEADS': 6 does not divide the 100 channels")
    text = message(write(MINIMAL + "MODEL: {FUSE: {MLP_RATIO: 2}}"), "MODEL.FUSE.HEADS=5")
    assert text.startswith("command line: 'MODEL.FUSE.HEADS': 5 does not divide")
    text = message(write(MINIMAL.replace("  EPOCHS: 3", "  BATCH_SIZE: 2")), "TRAIN.EPOCHS=")
    assert text.startswith("command line: 'TRAIN.EPOCHS': either EPOCHS or TOTAL_STEPS")


def test_override_through_a_scalar_is_refused(write):
    assert "'SEED' is not a mapping" in message(write(MINIMAL + "SEED: 3\n"), "SEED.X=1")


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "a: [", "- x", "a: &a [*a]", "? [x]\n: 1", "{" * 5000]
)
def test_hostile_text_is_one_line(write, text):
    message(write(text))


def test_a_character_that_yaml_forbids_is_one_line_with_its_place(write):
    assert ":5: not valid YAML: the character U+001B" in message(write(MINIMAL + "\x1b[31m: 1\n"))
    assert ":5: not valid YAML: the character U+0000" in message(write(MINIMAL + "\0"))


def test_what_the_message_quotes_reaches_no_terminal_raw_or_in_full(write):
    text = message(write(MINIMAL + '"\\e[31mA\\nB": 1\n'))
    assert r"'\x1b[31mA\nB'" in text
    assert text.isprintable()
    assert str(ConfigError("as a loading process hands it on\n")).endswith("hands it on")
    assert len(message(write(MINIMAL + "SEED: " + "A" * 100_000))) <= 2010


def test_binary_and_missing_files_are_one_line(tmp_path):
    binary = tmp_path / "x.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in message(binary)
    assert "cannot be read" in message(tmp_path / "none.yaml")
    assert "cannot be read" in message(tmp_path)


def test_crop_schedule_by_epoch(write):
    schedule = "[{UNTIL_EPOCH: 2, CROP_SIZE: 32}, {UNTIL_EPOCH: 4, CROP_SIZE: 64}]"
    data = load_config(write(MINIMAL), [f"DATA.CROP_SCHEDULE={schedule}"]).data
    assert [data.crop_size_at(epoch) for epoch in range(5)] == [32, 32, 64, 64, 256]


def test_shipped_configs_hold_the_documented_plans():
    folder = Path(__file__).parents[2] / "configs" / "deblur"
    plans = {p.stem.removeprefix("vrt_spike_"): load_config(p) for p in folder.glob("*.yaml")}
    assert set(plans) == {"baseline", "opt", "fast", "lowmem"}
    depths = {name: list(plan.model.vrt_depths) for name, plan in plans.items()}
    assert depths == {
        "baseline": [8, 8, 8, 8, 4, 4, 4, 8],
        "opt": [8, 7, 8, 8, 4, 4, 4, 6],
        "fast": [8, 6, 6, 8, 4, 4, 4, 4],
        "lowmem": [8, 7, 8, 8, 4, 4, 4, 6],
    }
    windows = {name: plan.model.window_size for name, plan in plans.items()}
    assert windows == {"baseline": 8, "opt": 7, "fast": 6, "lowmem": 7}
    caches = {name: plan.data.cache_size_gb for name, plan in plans.items()}
    assert caches == {"baseline": 4, "opt": 50, "fast": 50, "lowmem": 20}
    assert [plans[n].train.amp_enabled for n in ("baseline", "opt", "fast", "lowmem")] == [
        False,
        True,
        True,
        True,
    ]
    assert plans["fast"].data.crop_size == 128
    assert plans["lowmem"].dataloader.total_workers == 8


def test_demo_config_is_a_complete_vrt_spike():
    demo: Config = load_config(Path(__file__).parents[2] / "configs" / "demo.yaml")
    assert demo.model.use_spike
    assert len(demo.model.vrt_depths) == 8
    assert demo.model.fuse.scales == (1, 2, 3, 4)
