"""Lines over all images are found at their level, and nothing is found where there are none."""

import math

import pytest
import torch

from gan.evaluate.checkerboard import checkerboard
from gan.model.resampling import Upsample

N_IMAGES, SIDE, NOISE, AMPLITUDE = 32, 128, 0.1, 0.05


def noise(*shape: int) -> torch.Tensor:
    return NOISE * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("period", [2, 4, 8, 16])
@pytest.mark.parametrize("along", ["time", "frequency"])
def test_lines_of_known_amplitude(period, along):
    lines = AMPLITUDE * torch.cos(2 * math.pi * torch.arange(SIDE) / period)
    images = noise(N_IMAGES, 1, SIDE, SIDE) + (lines if along == "time" else lines[:, None])
    found = checkerboard(images)
    with_lines, without = (found.time_db, found.frequency_db) if along == "time" else found[::-1]
    fraction = AMPLITUDE**2 * N_IMAGES * (SIDE - 2) / (6 * NOISE**2) * (4 if period == 2 else 1)
    # Neighbours of 128 lines of noise and of 4 frequencies are right to 0.2 dB, a few of them.
    assert with_lines[period] == pytest.approx(10 * math.log10(1 + fraction), abs=1.0)
    for other in {2, 4, 8, 16} - {period}:
        assert abs(with_lines[other]) < 1.5
    assert max(abs(level) for level in without.values()) < 1.5


def test_a_checkerboard_is_found_along_both_axes():
    places = torch.arange(SIDE)
    # What a stride leaves: some pixels of each 2 x 2 brighter than the others.
    board = AMPLITUDE * ((places[:, None] % 2 == 0) & (places % 2 == 0))
    found = checkerboard(noise(N_IMAGES, 1, SIDE, SIDE) + board)
    # A line of half the amplitude on half of the rows; halved again, as the other half is the mean.
    fraction = 0.5 * (AMPLITUDE / 2) ** 2 * N_IMAGES * (SIDE - 2) * 4 / (6 * NOISE**2)
    for levels in found:
        assert levels[2] == pytest.approx(10 * math.log10(1 + fraction), abs=1.0)
        assert abs(levels[4]) < 1.5


def test_noise_has_no_lines():
    for levels in checkerboard(noise(16, 1, 256, 128)):
        assert max(abs(level) for level in levels.values()) < 1.5


def test_smooth_and_flat_images_have_no_lines():
    time = torch.linspace(0, 1, 128)
    decay = torch.exp(-4 * time) * torch.sin(3 * torch.linspace(0, 1, 256))[:, None]
    bump = torch.exp(-(((time - 0.5) / 0.3) ** 2)).expand(256, 128)
    for image in (decay, bump, torch.full((256, 128), -0.9)):
        for levels in checkerboard(image.expand(4, 1, 256, 128)):
            assert max(levels.values()) < 3.0
            # Their rounding is all that there is.
            assert abs(levels[2]) < 1.5
            assert abs(levels[4]) < 1.5


def test_periods_of_which_eight_fit():
    found = checkerboard(noise(4, 1, 256, 64))
    assert list(found.time_db) == [2, 4, 8]
    assert list(found.frequency_db) == [2, 4, 8, 16, 32]


def test_noise_that_is_smoothly_resized_has_no_lines_and_blocks_have():
    coarse = noise(256, 1, 64, 64)
    smooth = checkerboard(Upsample(1)(coarse))
    uneven = checkerboard(torch.nn.functional.conv_transpose2d(coarse + 1, torch.rand(1, 1, 4, 4), stride=2, padding=1))
    for levels, lines in zip(smooth, uneven, strict=True):
        assert abs(levels[4]) < 1.5
        assert lines[2] > 20
