"""Sentences that several rules share: why a rule could not look, and how to check an advice."""

from diagnostics.language import say

NOT_ON_CPU = "this run was on the CPU; the rule is about GPU runs"
NO_WORD_OF_THE_END = "the run left neither such an event nor an end of its own"
NO_STEPS = "no step was measured"
RECORD_FACTS = "record the run's facts, and give their folder (profiles/<run_id>)"
OWN_LOOP = (
    "its limits and switches are those of VRT-Spike's own trainer; this run is another's loop"
)
OTHER_TRAINER = (
    "its limits and switches are those of VRT-Spike's own trainer; this run is another's, or does "
    "not say whose"
)
RECORD_MORE_STEPS = "train for at least 20 steps beyond the first"
NOT_SAMPLED = "the machine was not sampled for it"
GPU_NOT_SAMPLED = "the GPU was not sampled for it"
ALLOCATOR_UNKNOWN = "the figures of the GPU's allocator were not recorded"
RECORD_MACHINE = "record again with this version and its resource sampler on"
RECORD_LOADER = "record again with this version; a loop of one's own hands its loader to run.wrap"
RECORD_NVML = "train with a working NVIDIA driver library (NVML), then give the facts folder"


def device_unknown(subject: str) -> str:
    """Why a rule of GPU runs says nothing when the run does not tell its device."""
    return say(
        "{subject} is judged for GPU runs only, and the input does not say where this run ran",
        subject=subject,
    )


def verify(sign: str) -> str:
    """The command that shows whether an advice helped, and the sign to look for."""
    return say("after the next run, `python analyze_performance.py`: {sign}", sign=sign)
