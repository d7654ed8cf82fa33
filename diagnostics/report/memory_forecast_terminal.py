"""The forecast, and the guide's rules for this machine, for a terminal."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.memory_checks import Bounds
from diagnostics.analyses.memory_demand import Demand
from diagnostics.analyses.memory_forecast import ResourceForecast
from diagnostics.language import say
from diagnostics.printable import printable
from diagnostics.report import units
from diagnostics.report.assumed_words import assumed_lines
from diagnostics.report.console import add_row, heading, indented
from diagnostics.report.console import table as make_table
from diagnostics.report.loading_plan_terminal import loading_plan_section
from diagnostics.report.memory_model import ForecastView

VERDICT_STYLES = {"does not fit": "bold red", "tight": "yellow", "fits": "green"}
RESOURCE_TITLES = {
    "host memory": "Host memory",
    "shared memory": "Shared memory",
    "GPU memory": "GPU memory",
}
HIT_RATE_TITLES = {
    "shuffled": "Cache size against hit rate, samples shuffled (DATA.SAMPLE_ORDER)",
    "grouped": "Cache size against hit rate, neighbouring samples together (DATA.SAMPLE_ORDER)",
}
CROWDED = (
    "More loading processes than cores: the system decides how they take turns, and several may "
    "load one frame at the same time; hence a range."
)
STATUS_WORDS = {"pass": "kept", "fail": "not kept", "not_evaluated": "not judged"}
_UNIT_WORDS = {"gib": "GiB", "workers": ""}


def forecast_section(view: ForecastView) -> Iterator[RenderableType]:
    """Data set, one table for each resource, the network's stages, the guide's rules."""
    demand = view.forecast.demand
    yield heading(say("Forecast for {config}", config=printable(demand.config)))
    yield indented(
        say(
            "{ranks} training process(es){machines} {where}. {worker_rule}.",
            ranks=demand.ranks,
            machines=_machines(demand),
            where=_where(demand),
            worker_rule=demand.loader.worker_rule,
        )
    )
    yield from _data(demand)
    for resource in view.forecast.resources:
        yield from _resource(resource)
    yield from loading_plan_section(demand)
    yield from _hit_rates(demand)
    yield from _stages(demand)
    yield from _checks(view)


def _machines(demand: Demand) -> str:
    if demand.machines == 1:
        return ""
    return say(
        " on each of {machines} machines ({world} in all; what follows is one machine)",
        machines=demand.machines,
        world=demand.machines * demand.ranks,
    )


def _where(demand: Demand) -> str:
    if demand.device == "cuda":
        return "on the GPU"
    return "on the CPU (no GPU here), so the network lies in host memory"


def _data(demand: Demand) -> Iterator[RenderableType]:
    data = demand.data
    assumed = "assumed, nothing is there" if data.is_assumed else ""
    where = say("{root} ({assumed})", root=data.root, assumed=assumed) if assumed else data.root
    yield indented(
        say(
            "Data set {where}: {train_frames} + {val_frames} frames, {train_samples} + "
            "{val_samples} samples (training + validation).",
            where=where,
            train_frames=data.train_frames,
            val_frames=data.val_frames,
            train_samples=data.train_samples,
            val_samples=data.val_samples,
        )
    )
    yield from assumed_lines(demand)
    frames = data.train_frames + data.val_frames
    yield indented(
        say(
            "Decoded {decoded_frame_bytes} a frame, {decoded_train_bytes} for training; as "
            "float32 with full-size voxels, which this loader never holds, "
            "{float_frame_bytes} a frame and {frames} in all.",
            decoded_frame_bytes=units.size(data.decoded_frame_bytes),
            decoded_train_bytes=units.size(data.decoded_train_bytes),
            float_frame_bytes=units.size(data.float_frame_bytes),
            frames=units.size(frames * data.float_frame_bytes),
        )
    )
    if data.fast_store_bytes:
        yield indented(
            say(
                "Fast store: its pages fill up to {size} of the page cache, once for all "
                "processes, beside what is counted below; the system takes them back when memory "
                "is needed.",
                size=units.size(data.fast_store_bytes),
            )
        )


def _resource(resource: ResourceForecast) -> Iterator[RenderableType]:
    style = VERDICT_STYLES.get(resource.verdict, "")
    yield indented("")
    yield indented(
        say(
            "{resource}: {verdict}{usage}",
            resource=RESOURCE_TITLES.get(resource.resource, resource.resource),
            verdict=resource.verdict,
            usage=_usage(resource),
        ),
        style=style,
    )
    if not resource.parts:
        return
    rows = make_table("part", "size", "basis ")
    for part in resource.parts:
        add_row(rows, part.name, units.size(part.size_bytes), part.basis)
    add_row(rows, "together", units.size(resource.need_bytes), "", style="bold")
    yield Padding(rows, (0, 0, 0, 4))


def _usage(resource: ResourceForecast) -> str:
    if resource.reason is not None:
        return say(" ({reason})", reason=resource.reason)
    return say(
        ", {share} of {limit_bytes} with the {used_by_others_bytes} that others use",
        share=units.share(resource.share),
        limit_bytes=units.size(resource.limit_bytes),
        used_by_others_bytes=units.size(resource.used_by_others_bytes),
    )


def _hit_rates(demand: Demand) -> Iterator[RenderableType]:
    loader = demand.loader
    yield heading(HIT_RATE_TITLES[loader.sample_order])
    if not loader.hit_rates:
        yield indented(
            say(
                "Not evaluated: {samples:,} training samples are too many to go through "
                "beforehand, or too few for all processes.",
                samples=demand.data.train_samples,
            )
        )
        return
    rows = make_table("cache", "hit rate, first epoch", "later")
    for rate in loader.hit_rates:
        shares = (
            _rate(rate.first_epoch_share, rate.first_epoch_range),
            _rate(rate.later_share, rate.later_range),
        )
        add_row(
            rows, units.size(rate.cache_bytes), *shares, style="bold" if rate.is_configured else ""
        )
    yield Padding(rows, (0, 0, 0, 2))
    if any(rate.later_range is not None for rate in loader.hit_rates):
        yield indented(CROWDED, style="dim")


def _rate(share: float, between: tuple[float, float] | None) -> str:
    """A range where its ends differ as they are shown."""
    ends = [units.share(each) for each in between or (share, share)]
    if ends[0] == ends[1]:
        return ends[0]
    return say("from {least} to {most}", least=ends[0], most=ends[1])


def _stages(demand: Demand) -> Iterator[RenderableType]:
    rows = make_table("stage", "parameters", "GFLOP forward", "kept for backward")
    for stage in demand.stages:
        add_row(
            rows,
            stage.name,
            f"{stage.parameters:,}",
            f"{stage.forward_flops / 1e9:.1f}",
            units.size(stage.saved_bytes),
        )
    add_row(
        rows,
        "together",
        f"{demand.model.parameters:,}",
        f"{sum(stage.forward_flops for stage in demand.stages) / 1e9:.1f}",
        units.size(demand.model.activation_bytes),
        style="bold",
    )
    yield heading("Network by stage, for one batch of one process")
    yield Padding(rows, (0, 0, 0, 2))


def _checks(view: ForecastView) -> Iterator[RenderableType]:
    if not view.checks:
        return
    rows = make_table("rule", "allows here", "configured", "")
    for check in view.checks:
        add_row(
            rows,
            check.bounds.rule,
            _allowed(check.bounds),
            f"{check.value:g}",
            STATUS_WORDS[check.status],
        )
    yield from _guide(rows)


def guide_section(bounds: Sequence[Bounds]) -> Iterator[RenderableType]:
    """What the guide's rules allow on this machine, without a configuration."""
    rows = make_table("rule", "allows here")
    for each in bounds:
        add_row(rows, each.rule, _allowed(each))
    yield from _guide(rows)
    yield indented("`--config FILE` forecasts a run on this machine before it starts.", style="dim")


def _guide(rows: RenderableType) -> Iterator[RenderableType]:
    yield heading("The performance guide's rules, on this machine")
    yield Padding(rows, (0, 0, 0, 2))
    yield indented(
        "They contradict each other on small machines: keep the first of each kind, the rest is "
        "advice. The trainer itself applies the one named in the forecast.",
        style="dim",
    )


def _allowed(bounds: Bounds) -> str:
    if bounds.reason is not None:
        return bounds.reason
    unit = f" {_UNIT_WORDS[bounds.unit]}".rstrip()
    low, high = (None if v is None else f"{v:.4g}" for v in (bounds.low, bounds.high))
    if low is None or low == high:
        return say("at most {high}{unit}", high=high, unit=unit) if low is None else f"{high}{unit}"
    return say("{low} to {high}{unit}", low=low, high=high, unit=unit)
