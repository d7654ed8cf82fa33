"""From losses, gradients and validations to what rules need of them. Pure."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from diagnostics.analyses.quality import Quality
from diagnostics.run import Run

Fields = dict[str, Any]


def numerics_fields(run: Run) -> Fields:
    """Facts name float16 overflows apart from NaN; of a log, the line's text tells."""
    events, steps = run.tables.events, run.tables.steps
    lines = _noted(events, "numerics")
    overflowed, stopped = _noted(events, "amp_overflow"), _noted(events, "not_finite")
    of_float16 = {step for step, noted in lines if "float16" in str(noted.get("text"))}
    overflows = of_float16 | {noted.get("overflowed_step", step) for step, noted in overflowed}
    bad = {step for step, _ in lines}
    bad |= {noted.get("bad_step", step) for step, noted in stopped}
    bad |= set(steps.loc[steps["nonfinite"].notna(), "step"])
    bad = {step for step in bad - overflows if isinstance(step, int | float)}
    tensors = [str(noted["tensor"])[:120] for _, noted in stopped if noted.get("tensor")]
    recorded = bool(steps["loss"].notna().any()) or bool(bad)
    return {
        "num_nonfinite": len(bad) if recorded else None,
        "num_amp_overflows": len(overflows) if recorded else None,
        "first_nonfinite_step": int(min(bad)) if bad else None,
        "first_nonfinite_tensor": tensors[0] if tensors else None,
        **_gradients(run),
    }


def _noted(events: pd.DataFrame, name: str) -> list[tuple[float, Mapping[str, Any]]]:
    """Step and values of each event of that name whose step is known."""
    held = events[(events["name"] == name) & events["step"].notna()]
    return list(zip(held["step"], held["values"], strict=True))


def _gradients(run: Run) -> Fields:
    norms = run.tables.steps["grad_norm"].dropna()
    if not len(norms):
        return {}
    return {"grad_norm_median": float(norms.median()), "grad_norm_max": float(norms.max())}


def quality_fields(quality: Quality) -> Fields:
    """The last and the best validation, and the blurry input."""
    points = [point for point in quality.points if point.psnr_rgb_db is not None]
    if not points:
        return {}
    return {
        "num_validations": len(points),
        "psnr_last_db": points[-1].psnr_rgb_db,
        "psnr_previous_db": points[-2].psnr_rgb_db if len(points) > 1 else None,
        "psnr_best_db": max(point.psnr_rgb_db or 0.0 for point in points),
        "psnr_input_db": points[-1].input_psnr_rgb_db,
    }
