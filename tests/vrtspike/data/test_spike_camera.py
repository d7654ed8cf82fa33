"""Laws of the simulated spike camera."""

import numpy as np
import pytest

from vrtspike.data.spike_camera import SpikeCamera
from vrtspike.data.spike_stream import encode, tfp
from vrtspike.errors import DataError


def light(ticks, seed=1):
    return np.random.default_rng(seed).random((ticks, 6, 8))


def test_spikes_and_accumulator_hold_all_the_light():
    camera = SpikeCamera(6, 8, theta=2.0, seed=3)
    before = camera.accumulator.copy()
    rays = light(88)
    spikes = camera.expose(rays)
    held = 2.0 * spikes.sum(0) + camera.accumulator - before
    assert np.allclose(held, rays.sum(0), atol=1e-9)
    assert (camera.accumulator >= 0).all()
    assert (camera.accumulator < 2.0).all()


def test_two_exposures_equal_one():
    rays = light(56)
    whole = SpikeCamera(6, 8, seed=5).expose(rays)
    camera = SpikeCamera(6, 8, seed=5)
    parts = np.concatenate([camera.expose(rays[:19]), camera.expose(rays[19:])])
    assert np.array_equal(parts, whole)


def test_white_fires_every_theta_ticks_and_black_never():
    rays = np.stack([np.ones((40, 8)), np.zeros((40, 8))], axis=1)
    spikes = SpikeCamera(2, 8, theta=2.0).expose(rays)
    assert (spikes[:, 0].sum(0) == 20).all()
    assert not (spikes[1:, 0] & spikes[:-1, 0]).any()
    assert not spikes[:, 1].any()


def test_tfp_gives_the_gray_back():
    rays = np.broadcast_to(np.linspace(0, 1, 48).reshape(6, 8), (400, 6, 8))
    image = tfp(encode(SpikeCamera(6, 8).expose(rays)))
    assert np.abs(image - rays[0]).max() <= 2.0 / 400 + 1e-6


def test_phase_depends_on_the_seed_alone():
    first, again, other = (SpikeCamera(6, 8, seed=s).accumulator for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "rays", [np.zeros((2, 5, 8)), np.full((2, 6, 8), 1.5), np.full((2, 6, 8), np.nan)]
)
def test_wrong_light_is_refused(rays):
    with pytest.raises(DataError):
        SpikeCamera(6, 8).expose(rays)


def test_theta_below_one_is_refused():
    with pytest.raises(DataError, match="theta"):
        SpikeCamera(6, 8, theta=0.5)
