"""What config.yaml may say, and how a wrong one is refused."""

import pytest

from vrtspike.data.spike_config import (
    SpikeConfig,
    find_spike_config,
    load_spike_config,
    write_spike_config,
)
from vrtspike.errors import DataError


def test_nearest_sensor_file_upwards_wins_and_the_search_stops_at_the_top(tmp_path):
    inner = tmp_path / "root" / "train" / "clip" / "spike"
    inner.mkdir(parents=True)
    write_spike_config(tmp_path, {"spike_h": 9, "spike_w": 8})
    assert find_spike_config(inner, tmp_path / "root") is None
    write_spike_config(tmp_path / "root", {"spike_h": 360, "spike_w": 640, "filename": "x"})
    assert find_spike_config(inner, tmp_path / "root") == SpikeConfig(spike_h=360, spike_w=640)
    write_spike_config(inner.parent, {"spike_h": 250, "spike_w": 400, "theta": 1})
    assert find_spike_config(inner, tmp_path / "root").theta == 1.0


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("spike_h: [", "YAML"),
        ("- 1", "expected keys"),
        ("spike_h: 3.5\nspike_w: 8", "spike_h"),
        ("spike_h: 8", "spike_w"),
        ("spike_h: 8\nspike_w: 99999", "spike_w"),
        ("spike_h: 8\nspike_w: 8\ntheta: -1", "theta"),
        ("spike_h: 8\nspike_w: 8\ntheta: .nan", "theta"),
        ("spike_h: 8\nspike_w: 8\nvoxel_mode: odd", "voxel_mode"),
        ("!!python/object/apply:os.system [ls]", "YAML"),
        ("x: " + "[" * 5000, "YAML"),
    ],
)
def test_wrong_files_are_named_in_one_line(tmp_path, text, word):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(DataError, match=word) as caught:
        load_spike_config(tmp_path / "config.yaml")
    assert "config.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
