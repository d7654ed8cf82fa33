"""What a run's network allocates at once, for the facts of a run whose memory ran out."""

import logging

from vrtspike.config import Config
from vrtspike.data.plan import measure_data
from vrtspike.errors import VRTSpikeError
from vrtspike.memory_demand import Machine, training_clip
from vrtspike.model.tensor_sizes import tensor_sizes

_log = logging.getLogger(__name__)
MAX_TENSORS = 100


def stage_tensors(config: Config, device_type: str) -> dict[str, int]:
    """Bytes of the largest tensors of a training step by stage, name and shape; largest first.

    Empty where the data set does not say how large its pictures are, or no memory is left to ask.
    """
    machine = Machine(device="cuda" if device_type == "cuda" else "cpu", ranks=1, cores=1)
    try:
        clip = training_clip(config, measure_data(config.data), machine)
        sizes = tensor_sizes(config.model, clip)
    except (VRTSpikeError, OSError, MemoryError) as error:
        _log.debug("no table of tensors: %s", error)
        return {}
    ordered = sorted(sizes, key=lambda each: -each.num_bytes)
    return {each.name: each.num_bytes for each in ordered[:MAX_TENSORS]}
