import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from vrtspike.engine.quality import QualitySums, luma, psnr_db, ssim


def images(seed: int, count: int = 3, channels: int = 3, size: tuple[int, int] = (24, 31)):
    rng = np.random.default_rng(seed)
    clean = rng.random((count, channels, *size))
    noisy = np.clip(clean + rng.normal(0, 0.1, clean.shape), 0, 1)
    return torch.from_numpy(clean), torch.from_numpy(noisy)


def independent_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """One channel, by scipy's correlation with the window's own weights, cut to the valid part."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window /= window.sum()

    def blur(image):
        full = correlate1d(correlate1d(image, window, axis=0), window, axis=1)
        return full[5:-5, 5:-5]

    mu_a, mu_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mu_a**2, blur(b * b) - mu_b**2
    cov = blur(a * b) - mu_a * mu_b
    c1, c2 = 0.01**2, 0.03**2
    upper = (2 * mu_a * mu_b + c1) * (2 * cov + c2)
    return float((upper / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))).mean())


def test_ssim_agrees_with_an_independent_implementation():
    clean, noisy = images(1)
    expected = [
        np.mean([independent_ssim(a, b) for a, b in zip(x.numpy(), y.numpy(), strict=True)])
        for x, y in zip(noisy, clean, strict=True)
    ]
    np.testing.assert_allclose(ssim(noisy, clean).numpy(), expected, rtol=1e-9)


def test_ssim_of_equal_frames_is_one_and_small_frames_are_refused():
    clean, _ = images(2)
    np.testing.assert_allclose(ssim(clean, clean).numpy(), 1.0)
    with pytest.raises(ValueError, match="11x11 pixels, got 12x10"):
        ssim(clean[..., :10, :12], clean[..., :10, :12])


def test_psnr_is_per_frame():
    clean, noisy = images(3)
    error = ((clean - noisy) ** 2).numpy().reshape(3, -1).mean(1)
    np.testing.assert_allclose(psnr_db(noisy, clean).numpy(), 10 * np.log10(1 / error))
    assert psnr_db(clean, clean).tolist() == [math.inf] * 3


def test_luma_spans_the_studio_range():
    white, black = torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)
    assert luma(white).item() == pytest.approx(235 / 255)
    assert luma(black).item() == pytest.approx(16 / 255)


def test_sums_of_parts_are_the_sums_of_the_whole():
    clean, noisy = images(4, count=5)
    blur = noisy.roll(1, dims=3)
    whole, first, second = QualitySums(), QualitySums(), QualitySums()
    whole.add(noisy, clean, blur)
    first.add(noisy[:2], clean[:2], blur[:2])
    second.add(noisy[2:], clean[2:], blur[2:])
    together = QualitySums.from_tensor(first.as_tensor() + second.as_tensor()).means()
    for name, value in whole.means().as_values().items():
        assert together.as_values()[name] == pytest.approx(value)
    assert together.frames == 5


def test_output_is_clamped_and_a_perfect_frame_counts_as_the_cap():
    clean = torch.ones(1, 3, 16, 16)
    sums = QualitySums()
    sums.add(clean * 1.5, clean)
    assert sums.means().psnr_rgb_db == 100.0


def test_nan_and_nothing_measured_are_refused():
    clean, noisy = images(5)
    with pytest.raises(ValueError, match="NaN"):
        QualitySums().add(noisy * math.nan, clean)
    with pytest.raises(ValueError, match="no frame"):
        QualitySums().means()
