"""What to say about a switch that a forecast proposes, and the command that checks it."""

import shlex
from collections.abc import Sequence

from diagnostics.analyses.memory_demand import SettingChange
from diagnostics.rules.finding import Advice, ConfigChange

_WHY = {
    "DATA.CACHE_SIZE_GB": "Lower the cache to what is left for it.",
    "DATA.USE_RAM_CACHE": "Do without the cache: the system keeps files in memory by itself.",
    "DATALOADER.TOTAL_WORKERS": "Use fewer loader processes: each holds batches in the making.",
    "DATALOADER.TRAIN_PREFETCH_FACTOR": "Prefetch fewer batches for each loader process.",
    "TRAIN.AMP_ENABLED": "Use mixed precision: activations take about half.",
    "MODEL.ATTENTION": "Use the fused attention kernel: it keeps no attention weights.",
    "MODEL.VRT.USE_CHECKPOINT_ATTN": "Recompute attention in the backward pass, at more time.",
    "MODEL.VRT.USE_CHECKPOINT_FFN": "Recompute the MLPs in the backward pass, at more time.",
    "TRAIN.BATCH_SIZE": "Use smaller micro-batches,",
    "TRAIN.GRADIENT_ACCUMULATION_STEPS": "and more of them, so that a step sees as many clips.",
    "DATA.VAL_CROP_SIZE": "Validate on smaller crops.",
    "DATA.CROP_SIZE": "Train on smaller crops.",
}


def advise(change: SettingChange, verify: str) -> Advice:
    """The advice to make a change."""
    switch = ConfigChange(key=change.key, current=change.current, proposed=change.proposed)
    return Advice(text=_WHY[change.key], config_change=switch, verify=verify)


def advise_to_set(config: str, change: SettingChange, text: str) -> Advice:
    """The advice to make one change to a configuration, in words of its own."""
    switch = ConfigChange(key=change.key, current=change.current, proposed=change.proposed)
    return Advice(text=text, config_change=switch, verify=verify_command(config, [change]))


def verify_command(config: str, changes: Sequence[SettingChange]) -> str:
    """The command that forecasts the same configuration with the changes.

    Args:
        config: the file, with the settings and options that the forecast was asked with.
        changes: what takes the place of settings of the same keys.
    """
    words = _words(config)
    for change in changes:
        setting = f"{change.key}={_spelled(change.proposed)}"
        places = [n for n, word in enumerate(words) if word.startswith(f"{change.key}=")]
        for place in places:
            words[place] = setting
        if not places:
            words.append(setting)
    return f"python diagnose_memory.py --config {shlex.join(words)}"


def _words(config: str) -> list[str]:
    try:
        return shlex.split(config)
    except ValueError:
        return [config]


def _spelled(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
