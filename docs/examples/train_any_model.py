"""A training loop that is not VRT-Spike's, recorded: a small network on random images.

Run it, then ask both tools about it; it takes seconds on a CPU:

    python docs/examples/train_any_model.py
    python analyze_performance.py
    python diagnose_memory.py
"""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from vrtspike.profiling import record


class SmallNet(nn.Module):
    """Three parts; the middle one is where the time goes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.body = nn.Sequential(
            nn.Conv2d(8, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Class scores, (batch, 10), of images, (batch, 3, height, width)."""
        features = self.body(self.stem(images))
        scores: torch.Tensor = self.head(features.mean((2, 3)))
        return scores


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this program."""
    parser = argparse.ArgumentParser(description="Train a small network on random images.")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=8)
    return parser


def main() -> None:
    """Train for a few epochs, with a validation after each."""
    options = build_parser().parse_args()
    torch.manual_seed(0)
    images, labels = torch.randn(128, 3, 32, 32), torch.randint(0, 10, (128,))
    loader = DataLoader(TensorDataset(images, labels), options.batch_size, shuffle=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = SmallNet().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    steps = options.epochs * len(loader)

    with record("small-net", config=options, total_steps=steps, stage_every_steps=5) as run:
        run.observe(model, ["stem", "body", "head"])
        for _ in range(options.epochs):
            model.train()
            for batch_images, batch_labels in run.wrap(loader):
                with run.phase("h2d"):
                    x = batch_images.to(device, non_blocking=True)
                    y = batch_labels.to(device, non_blocking=True)
                scores = model(x)
                with run.phase("loss"):
                    loss = nn.functional.cross_entropy(scores, y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                run.step(loss=loss, samples=len(x), lr=0.05)
            with run.span("validation") as validation, torch.no_grad():
                model.eval()
                right = (model(images.to(device)).argmax(1).cpu() == labels).float().mean()
                validation.values["accuracy"] = float(right)
    print(f"recorded in {run.facts_dir}; now: python analyze_performance.py")


if __name__ == "__main__":
    main()
