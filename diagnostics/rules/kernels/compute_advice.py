"""What makes the network's work cheaper, the advice that keeps its weights first."""

from diagnostics.language import say
from diagnostics.rules.finding import Advice, ConfigChange
from diagnostics.rules.kernels.stage_advice import stage_switches
from diagnostics.rules.launch_command import configuration_words
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

TRACE_A_LOOP = "`record(..., profile=True)`"
_TRACE_OURS = "`python -m vrtspike.train --config {config} --profile`"
TRACE_ANY = "torch.profiler"


def how_to_trace(measured: Measurements) -> str:
    """What shows kernels and operators: the trace there is, else what would record one here."""
    if measured.trace is not None:
        return say("the trace {path}", path=measured.trace)
    if measured.is_own_loop:
        return TRACE_A_LOOP
    if measured.is_trainer_unknown:
        return TRACE_ANY
    return say(_TRACE_OURS, config=configuration_words(measured.launch))


def compute_advice(measured: Measurements) -> tuple[Advice, ...]:
    """Mixed precision, then fused attention, then the switches of the heaviest stage."""
    heaviest = heaviest_stage(measured)
    candidates = [mixed_precision(measured), fused_attention(measured)]
    if heaviest is not None:
        candidates += stage_switches(measured, heaviest)
    advice = tuple(item for item in candidates if item is not None)
    return advice or (_look_closer(measured),)


_KERNELS = "{trace} shows which kernels and operators take the time."
_NO_CONFIG = (
    "The input does not hold the run's configuration, so no switch is proposed; give the facts "
    "folder (profiles/<run_id>)."
)
_ALL_SET = (
    "The switches that make the network cheaper are already set; {trace} shows which kernels and "
    "operators take the time."
)


def _look_closer(measured: Measurements) -> Advice:
    text = say(_KERNELS if measured.is_own_loop else _ALL_SET, trace=how_to_trace(measured))
    if not measured.is_own_loop and not measured.config:
        text = _NO_CONFIG
    return Advice(text=text, verify=verify("forward shorter"))


def largest_gain(advice: tuple[Advice, ...]) -> float | None:
    """The most that one of these advices could recover, in ms per step; None if none is known."""
    return max(
        (item.predicted_gain.high_ms for item in advice if item.predicted_gain), default=None
    )


def heaviest_stage(measured: Measurements) -> str | None:
    """The stage of the forward with the largest mean; the remainder is no stage."""
    named = {name: ms for name, ms in measured.stage_ms.items() if name != "forward.other"}
    return max(named, key=lambda name: named[name], default=None)


def mixed_precision(measured: Measurements) -> Advice | None:
    """Switch AMP on, where it is known to be off on a GPU."""
    if measured.device != "cuda" or measured.setting("TRAIN.AMP_ENABLED") is not False:
        return None
    return Advice(
        text="Switch mixed precision on. The performance guide claims 30-40 % less compute time; "
        "that was not measured here.",
        config_change=ConfigChange(key="TRAIN.AMP_ENABLED", current=False, proposed=True),
        verify=verify("forward and backward shorter, loss finite"),
    )


def fused_attention(measured: Measurements) -> Advice | None:
    """Let a GPU use one kernel for attention; weights stay loadable."""
    if measured.device != "cuda" or measured.setting("MODEL.ATTENTION") != "explicit":
        return None
    return Advice(
        text="Let attention run as one fused kernel; weights stay as they are.",
        config_change=ConfigChange(key="MODEL.ATTENTION", current="explicit", proposed="auto"),
        verify=verify("vrt.stage8 shorter"),
    )
