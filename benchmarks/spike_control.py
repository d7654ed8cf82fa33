"""Do the spikes help? Trains with and without them, equal steps, several seeds, and compares.

    python benchmarks/spike_control.py --steps 1000 --seeds 3 --out docs/spike-control.md

The control has the same VRT, data order and optimizer, without the spike encoder, the temporal
attention and the fusion (`MODEL.USE_SPIKE=false`). Both start at the blurry input exactly.
Finished runs are kept under `--work` and reused, so an interrupted comparison goes on.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Validation of one finished run, in dB."""

    seed: int
    use_spike: bool
    psnr_rgb: float
    ssim_y: float
    input_psnr_rgb: float

    @property
    def gain_db(self) -> float:
        return self.psnr_rgb - self.input_psnr_rgb


def train(
    config: Path, work: Path, seed: int, use_spike: bool, steps: int, extra: list[str]
) -> Outcome:
    folder = work / f"{'spikes' if use_spike else 'control'}_seed{seed}_steps{steps}"
    finished = read_outcome(folder, seed, use_spike)
    if finished:
        return finished
    command = [
        sys.executable, "-m", "vrtspike.train", "--config", str(config),
        f"SEED={seed}", f"MODEL.USE_SPIKE={str(use_spike).lower()}", f"TRAIN.TOTAL_STEPS={steps}",
        f"LOG.VAL_EVERY_STEPS={steps}", f"LOG.CHECKPOINT_EVERY_STEPS={steps}",
        f"LOG.SAVE_DIR={folder / 'outputs'}", f"LOG.PROFILES_DIR={folder / 'profiles'}", *extra,
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "stdout.txt").open("w") as out:
        subprocess.run(command, cwd=ROOT, check=True, stdout=out, stderr=subprocess.STDOUT)
    outcome = read_outcome(folder, seed, use_spike)
    if outcome is None:
        raise SystemExit(f"{folder}: the run left no validation")
    return outcome


def read_outcome(folder: Path, seed: int, use_spike: bool) -> Outcome | None:
    spans = []
    for facts in sorted((folder / "profiles").glob("*/spans.rank0.jsonl")):
        if json.loads((facts.parent / "meta.json").read_text())["status"] != "finished":
            continue
        spans += [json.loads(line) for line in facts.read_text().splitlines()]
    last = [s["values"] for s in spans if s["kind"] == "span" and s["name"] == "validation"]
    if not last:
        return None
    return Outcome(
        seed=seed,
        use_spike=use_spike,
        psnr_rgb=last[-1]["psnr_rgb_db"],
        ssim_y=last[-1]["ssim_y"],
        input_psnr_rgb=last[-1]["input_psnr_rgb_db"],
    )


def report(outcomes: list[Outcome], args: argparse.Namespace) -> str:
    lines = [
        "# Do the spikes help?",
        "",
        f"`{' '.join(['python', 'benchmarks/spike_control.py', *sys.argv[1:]])}`, "
        f"{date.today().isoformat()}, {platform.machine()}, {args.steps} steps a run.",
        "",
        "| seed | blurry input | without spikes | with spikes | spikes' gain | SSIM, same order |",
        "|---|---|---|---|---|---|",
    ]
    gains = []
    for seed in sorted({o.seed for o in outcomes}):
        pair = {o.use_spike: o for o in outcomes if o.seed == seed}
        with_spikes, control = pair[True], pair[False]
        gains.append(with_spikes.psnr_rgb - control.psnr_rgb)
        lines.append(
            f"| {seed} | {control.input_psnr_rgb:.2f} dB | {control.psnr_rgb:.2f} dB "
            f"({control.gain_db:+.2f}) | {with_spikes.psnr_rgb:.2f} dB "
            f"({with_spikes.gain_db:+.2f}) | {gains[-1]:+.2f} dB "
            f"| {control.ssim_y:.4f}, {with_spikes.ssim_y:.4f} |"
        )
    spread = statistics.stdev(gains) if len(gains) > 1 else float("nan")
    lines += ["", f"Mean gain of the spikes: {statistics.mean(gains):+.2f} dB, standard deviation "
              f"{spread:.2f} dB over {len(gains)} seeds."]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "demo.yaml")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "spike_control")
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*", help="KEY.PATH=VALUE for both variants")
    args = parser.parse_args()
    outcomes = [
        train(args.config, args.work, seed, use_spike, args.steps, args.overrides)
        for seed in range(1, args.seeds + 1)
        for use_spike in (True, False)
    ]
    text = report(outcomes, args)
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
