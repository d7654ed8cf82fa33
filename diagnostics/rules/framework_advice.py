"""Advice about another trainer's run: what to change in plain words, and that trainer's switches.

The rules' own advice names the switches of this trainer's configuration, which is unknown there.
"""

from collections.abc import Mapping
from dataclasses import replace

from diagnostics.language import say
from diagnostics.rules.finding import DEVICE_MEMORY, Advice, Finding
from diagnostics.rules.framework_switches import Topic, switches_for, trainer_of
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.trace_rule import up_to

SWITCHES = "{what} In {framework}: {switches}."
SWITCHES_BESIDE = "{what}; in {framework}: {switches}"
WHAT: Mapping[Topic, str] = {
    "loader": "Let more processes make the batches, until the wait is gone or the cores are full; "
    "keep them from epoch to epoch, and pin their batches for a GPU.",
    "device_memory": "Take less of the device: 16-bit activations (torch.autocast), activations "
    "computed again in the backward (torch.utils.checkpoint), half the batch with twice the "
    "accumulation, or the optimizer's state shared out among the ranks.",
    "host_memory": "Take less of the host: fewer loading processes, fewer batches ready in each, "
    "no cache of the data in each of them. `python diagnose_memory.py --pid N` shows who holds it.",
    "gradients": "Look at the batch and the loss of the step where it began; then clip harder, "
    "lower the learning rate, warm up longer, or train in bfloat16 instead of float16.",
    "schedule": "Compare the length of the schedule and its warm-up with the steps of the run: its "
    "rate is 0 where it is over or has not begun.",
    "checkpoints": "Save more often: what lies between two checkpoints is lost with the run.",
    "logging": "Log every step, and the times of its parts.",
}
BY_HOST_CLOCK = (
    "Do not trust these times of a GPU's work: the program's clock runs on while the GPU works. "
    "Record a trace of some steps, or the loop with `vrtspike.profiling.record` "
    "(docs/any-trainer.md)."
)
STANDS = (
    "Look at the learning rate and its schedule, and at the validation: a loss that stands may be "
    "learnt, or its rate too small."
)
TOPIC_OF: Mapping[str, Topic] = {
    "DL001": "loader",
    "DL201": "loader",
    "GM001": "device_memory",
    "GM002": "device_memory",
    "GM003": "device_memory",
    "HM001": "host_memory",
    "HM002": "host_memory",
    "HM003": "host_memory",
    "NU001": "gradients",
    "NU004": "gradients",
    "NU005": "schedule",
    "NU006": "schedule",
    "CF009": "checkpoints",
    "TR002": "logging",
    "TR003": "trace",
}
"""What the advice of a rule is about, for those that a log of another trainer can set off."""

_OWN_WORDS = {"NU005": STANDS, "TR003": BY_HOST_CLOCK}


def in_the_trainers_words(finding: Finding, measured: Measurements) -> Finding:
    """The finding with advice for the trainer whose log it is; unchanged where that is ours."""
    topic = TOPIC_OF.get(finding.rule)
    if measured.framework is None or topic is None:
        return finding
    own = finding.advice[0].verify if finding.advice else None
    what = _OWN_WORDS.get(finding.rule) or WHAT[topic]
    cost_ms = finding.cost_ms_per_step
    advice = Advice(
        text=with_switches(what, measured.framework, topic),
        predicted_gain=up_to(cost_ms) if topic == "loader" and cost_ms is not None else None,
        verify=own,
        towards=(DEVICE_MEMORY, "less") if topic == "device_memory" else None,
    )
    return replace(finding, advice=(*_of_the_cause(finding), advice))


def _of_the_cause(finding: Finding) -> tuple[Advice, ...]:
    """What meets why an allocation failed: settings of PyTorch and of the machine, not ours."""
    if finding.rule != "GM002":
        return ()
    return tuple(advice for advice in finding.advice if advice.towards is None)


def with_switches(what: str, framework: str, topic: Topic, template: str = SWITCHES) -> str:
    """The sentence, and the framework's own switches where it has some."""
    found = switches_for(framework, topic)
    if found is None:
        return what
    return say(template, what=what, framework=trainer_of(framework), switches=found.text)
