"""How much do the spikes tell? Fits linear filters to a data set, with and without the spikes.

    python benchmarks/spike_information.py --config configs/demo.yaml --crop 128

By least squares over the training clips, each pixel's difference between sharp and blurry is
predicted from a small window of inputs; the gain in PSNR is measured on the validation clips. What
a filter gains with the spikes and not without them is information that a network can use, too.
"""

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from vrtspike.config import load_config
from vrtspike.data.clips import ClipSample, SpikeDeblurDataset
from vrtspike.data.settings import DataConfig

ROOT = Path(__file__).resolve().parent.parent
RIDGE = 1e-3
"""Keeps the equations solvable where two inputs are equal."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which inputs a filter sees, in windows of `size` x `size` pixels."""

    name: str
    size: int
    spikes: bool = False
    neighbours: bool = False


FILTERS = (
    Filter(name="picture alone", size=3),
    Filter(name="picture and spikes", size=3, spikes=True),
    Filter(name="picture and spikes", size=5, spikes=True),
    Filter(name="picture, spikes and neighbouring frames", size=3, spikes=True, neighbours=True),
    Filter(name="picture and neighbouring frames", size=3, neighbours=True),
)


def inputs_of(clip: ClipSample, seen: Filter) -> Tensor:
    """(pixels of all frames, inputs) in float64: the window of every pixel, and a constant."""
    blur = clip["blur"]
    parts = [blur]
    if seen.spikes:
        size = blur.shape[-2:]
        parts.append(functional.interpolate(clip["spike_vox"], size=size, mode="bilinear"))
    if seen.neighbours:
        parts += [torch.cat([blur[1:], blur[-1:]]), torch.cat([blur[:1], blur[:-1]])]
    windows = functional.unfold(torch.cat(parts, 1), seen.size, padding=seen.size // 2)
    flat = windows.permute(0, 2, 1).reshape(-1, windows.shape[1]).double()
    return torch.cat([flat, torch.ones(len(flat), 1, dtype=torch.float64)], 1)


def fit(clips: Iterator[ClipSample], seen: Filter) -> Tensor:
    """(inputs, 3): the filter that predicts sharp minus blurry with the least squared error."""
    normal, wanted = torch.zeros(()), torch.zeros(())
    for clip in clips:
        inputs = inputs_of(clip, seen)
        difference = clip["sharp"] - clip["blur"]
        targets = difference.permute(0, 2, 3, 1).reshape(-1, 3).double()
        normal = normal + inputs.T @ inputs
        wanted = wanted + inputs.T @ targets
    weights: Tensor = torch.linalg.solve(normal + RIDGE * torch.eye(len(normal)), wanted)
    return weights


def gain_db(clips: Iterator[ClipSample], seen: Filter, weights: Tensor) -> float:
    """Mean gain in PSNR over RGB of the filter's output over the blurry input, by frame."""
    gains = []
    for clip in clips:
        blur, sharp = clip["blur"], clip["sharp"]
        frames, _, height, width = blur.shape
        change = (inputs_of(clip, seen) @ weights).reshape(frames, height, width, 3)
        output = (change.permute(0, 3, 1, 2) + blur).clamp(0, 1)
        gains += [
            psnr_db(made, true) - psnr_db(given, true)
            for made, given, true in zip(output, blur, sharp, strict=True)
        ]
    return sum(gains) / len(gains)


def psnr_db(picture: Tensor, true: Tensor) -> float:
    """PSNR of values in 0..1."""
    return -10 * math.log10(float(((picture - true) ** 2).mean()))


def clips_of(data: DataConfig, split: str, epochs: int) -> Iterator[ClipSample]:
    """Every clip of a split; in training, of several epochs with their random crops."""
    clips = SpikeDeblurDataset(data, split, training=split == "train", seed=1)
    for epoch in range(epochs):
        clips.set_epoch(epoch)
        for index in range(len(clips)):
            yield clips[index]


def main() -> None:
    """Fit every filter and print its gain as a row of a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "demo.yaml")
    parser.add_argument("--crop", type=int, default=128, help="DATA.CROP_SIZE of the training")
    parser.add_argument("--epochs", type=int, default=2, help="random crops of each clip")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = load_config(args.config, [f"DATA.CROP_SIZE={args.crop}"]).data
    print("| inputs | window | gain over the blurry input | seconds |\n|---|---|---|---|")
    for seen in FILTERS:
        began_s = time.monotonic()
        weights = fit(clips_of(data, "train", args.epochs), seen)
        gain = gain_db(clips_of(data, "val", 1), seen, weights)
        spent_s = time.monotonic() - began_s
        print(
            f"| {seen.name} | {seen.size} x {seen.size} | {gain:+.2f} dB | {spent_s:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
