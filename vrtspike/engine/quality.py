"""PSNR and SSIM as the restoration literature defines them; images are RGB in 0..1.

PSNR: over one frame's pixels and channels, data range 1. Y: BT.601 luma of studio range (16..235
of 255). SSIM: Wang et al. 2004, Gaussian window 11x11 with sigma 1.5, K1 = 0.01, K2 = 0.03, the
mean over the positions where the whole window lies inside the image.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

PSNR_CAP_DB = 100.0
"""What a frame without any error counts in a mean: its PSNR is infinite, a mean needs a number."""

SSIM_WINDOW = 11
_SSIM_SIGMA = 1.5
_C1 = 0.01**2
_C2 = 0.03**2
_LUMA = (65.481, 128.553, 24.966)


def luma(frames: Tensor) -> Tensor:
    """Y of BT.601 in studio range, divided by 255: (N, 3, H, W) -> (N, 1, H, W)."""
    weights = frames.new_tensor(_LUMA).view(1, 3, 1, 1)
    return ((frames * weights).sum(1, keepdim=True) + 16.0) / 255.0


def psnr_db(frames: Tensor, reference: Tensor) -> Tensor:
    """PSNR of each frame (N, C, H, W) -> (N,), in dB; infinite for identical frames."""
    error = (frames.double() - reference.double()).square().mean(dim=(1, 2, 3))
    return -10.0 * torch.log10(error)


def ssim(frames: Tensor, reference: Tensor) -> Tensor:
    """SSIM of each frame, the mean over its channels: (N, C, H, W) -> (N,).

    Raises:
        ValueError: the frames are smaller than the 11x11 window.
    """
    if min(frames.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(
            f"SSIM needs frames of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, got "
            f"{frames.shape[-1]}x{frames.shape[-2]}"
        )
    a, b = frames.double(), reference.double()
    mean_a, mean_b = _blur(a), _blur(b)
    var_a = _blur(a * a) - mean_a.square()
    var_b = _blur(b * b) - mean_b.square()
    covariance = _blur(a * b) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    energy = (mean_a.square() + mean_b.square() + _C1) * (var_a + var_b + _C2)
    return (likeness / energy).mean(dim=(1, 2, 3))


def _blur(frames: Tensor) -> Tensor:
    """The Gaussian-weighted mean around each pixel, without padding."""
    offsets = torch.arange(SSIM_WINDOW, dtype=frames.dtype, device=frames.device)
    offsets = offsets - SSIM_WINDOW // 2
    weights = torch.exp(-offsets.square() / (2.0 * _SSIM_SIGMA**2))
    weights = weights / weights.sum()
    planes = frames.flatten(0, 1).unsqueeze(1)
    planes = functional.conv2d(planes, weights.view(1, 1, -1, 1))
    planes = functional.conv2d(planes, weights.view(1, 1, 1, -1))
    return planes.view(*frames.shape[:2], *planes.shape[-2:])


@dataclass
class QualitySums:
    """Sums over frames, so that ranks and batches of any size add up to the true mean."""

    frames: int = 0
    psnr_rgb: float = 0.0
    psnr_y: float = 0.0
    ssim_y: float = 0.0
    input_psnr_rgb: float = 0.0

    def add(self, output: Tensor, sharp: Tensor, blur: Tensor | None = None) -> None:
        """Count frames (N, 3, H, W); `output` is clamped to 0..1 first."""
        clean, restored = sharp.float(), output.float().clamp(0.0, 1.0)
        self.frames += clean.shape[0]
        self.psnr_rgb += _capped_sum(psnr_db(restored, clean))
        self.psnr_y += _capped_sum(psnr_db(luma(restored), luma(clean)))
        self.ssim_y += float(ssim(luma(restored), luma(clean)).sum())
        if blur is not None:
            self.input_psnr_rgb += _capped_sum(psnr_db(blur.float(), clean))

    def as_tensor(self) -> Tensor:
        """All sums in one float64 vector, for an all-reduce."""
        values = (self.frames, self.psnr_rgb, self.psnr_y, self.ssim_y, self.input_psnr_rgb)
        return torch.tensor(values, dtype=torch.float64)

    @classmethod
    def from_tensor(cls, sums: Tensor) -> "QualitySums":
        """The inverse of `as_tensor`."""
        frames, *rest = sums.tolist()
        return cls(round(frames), *rest)

    def means(self) -> "Quality":
        """The mean over all frames.

        Raises:
            ValueError: no frame was counted.
        """
        if not self.frames:
            raise ValueError("no frame was measured")
        return Quality(
            frames=self.frames,
            psnr_rgb_db=self.psnr_rgb / self.frames,
            psnr_y_db=self.psnr_y / self.frames,
            ssim_y=self.ssim_y / self.frames,
            input_psnr_rgb_db=self.input_psnr_rgb / self.frames,
        )


@dataclass(frozen=True)
class Quality:
    """Means over frames; `input_psnr_rgb_db` is that of the blurry input itself."""

    frames: int
    psnr_rgb_db: float
    psnr_y_db: float
    ssim_y: float
    input_psnr_rgb_db: float

    def as_values(self) -> Mapping[str, float | int]:
        """The figures by name, for a record."""
        return dict(vars(self))


def _capped_sum(values_db: Tensor) -> float:
    total = float(values_db.clamp(max=PSNR_CAP_DB).sum())
    if math.isnan(total):
        raise ValueError("the output holds NaN")
    return total
