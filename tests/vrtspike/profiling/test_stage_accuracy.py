"""A known delay in one stage and one direction of the demo's network shows there and nowhere else.

`benchmarks/stage_accuracy.py` does the same with real delays.
"""

from pathlib import Path

import pytest
import torch

from tests.vrtspike.profiling.stage_models import Spend, by_phase, step
from vrtspike.config import load_config
from vrtspike.engine.stored_model import new_model
from vrtspike.model.recomputation import set_checkpoint_context
from vrtspike.model.stages import stage_submodules

CONFIG = Path(__file__).parents[3] / "configs" / "demo.yaml"


def delay(clock, module, forward_ms, backward_ms):
    plain = module.forward
    module.forward = lambda *args: Spend.apply(plain(*args), clock, forward_ms, backward_ms)


@pytest.mark.parametrize("recomputes", [False, True])
def test_a_delay_shows_where_it_is_and_nowhere_else(new_recorder, clock, heard, recomputes):
    switches = ["MODEL.VRT.USE_CHECKPOINT_ATTN=true", "MODEL.VRT.USE_CHECKPOINT_FFN=true"]
    config = load_config(CONFIG, switches if recomputes else [])
    model = new_model(config, trained=True)
    place = "vrt.stage3.residual_group1.blocks.0.mlp" if recomputes else "vrt.stage3"
    delay(clock, model.get_submodule(place), 30, 0)
    delay(clock, model.get_submodule("vrt.stage6"), 0, 50)
    blur, spikes = torch.rand(1, 2, 3, 40, 40), torch.rand(1, 2, config.data.k, 40, 40)
    with new_recorder() as recorder:
        recorder.observe(model, stage_submodules(use_spike=True))
        set_checkpoint_context(model, recorder.checkpoint_context)
        step(recorder, lambda x: model(x, spikes), blur)
    found = {phase: record.ms for phase, record in by_phase(heard).items()}
    shown = {(name, phase): ms for phase, times in found.items() for name, ms in times.items()}
    expected = {("vrt.stage3", "forward"): 30.0, ("vrt.stage6", "backward"): 50.0}
    if recomputes:
        expected["vrt.stage3", "recompute"] = 30.0
        again = {name for name, phase in shown if phase == "recompute"}
        assert again >= {f"vrt.stage{number}" for number in range(1, 9)}
    else:
        assert "recompute" not in found
    assert {place: ms for place, ms in shown.items() if ms} == expected
    assert set(found["forward"]) - {"forward.other"} == set(found["backward"]) - {"backward.other"}
