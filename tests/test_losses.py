"""Losses and penalties against numbers worked out by hand."""

import math

import pytest
import torch
from torch import nn

from gan.errors import InputError
from gan.model.losses import NonSaturating
from gan.model.penalties import R1


def test_non_saturating():
    real, fake = torch.tensor([0.0, math.log(3)]), torch.tensor([math.log(3), 0.0])
    # Sigmoids 1/2 and 3/4: -log(1/2), -log(3/4) for real; -log(1/4), -log(1/2) for fake.
    discriminator = (math.log(2) + math.log(4 / 3)) / 2 + (math.log(4) + math.log(2)) / 2
    assert float(NonSaturating().discriminator(real, fake)) == pytest.approx(discriminator, rel=1e-6)
    assert float(NonSaturating().generator(real, fake)) == pytest.approx((math.log(4 / 3) + math.log(2)) / 2, rel=1e-6)


def test_non_saturating_does_not_saturate():
    logits = torch.tensor([-50.0], requires_grad=True)
    NonSaturating().generator(torch.zeros(1), logits).backward()
    assert float(logits.grad) == pytest.approx(-1.0)


def test_r1_of_a_linear_discriminator_is_half_its_squared_weights():
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(6, 1), nn.Flatten(0))
    weight = discriminator[1].weight
    weight.data = torch.arange(6.0)[None]  # squared: 55
    penalty = R1(weight=3.0, every=4)(discriminator, torch.randn(5, 1, 2, 3), torch.randn(5, 1, 2, 3))
    assert float(penalty.detach()) == pytest.approx(0.5 * 55 * 3 * 4)
    penalty.backward()
    torch.testing.assert_close(weight.grad, 12 * torch.arange(6.0)[None])


def test_r1_looks_at_real_images_only():
    def discriminator(images):
        return images.square().sum(dim=(1, 2, 3))  # gradient 2x, penalty 2 ||x||^2

    real = torch.ones(2, 1, 1, 3)
    assert float(R1(weight=1.0)(discriminator, real, 100 * real).detach()) == pytest.approx(6.0)


@pytest.mark.parametrize(("weight", "every"), [(-1.0, 1), (1.0, 0)])
def test_senseless_factors_are_refused(weight, every):
    with pytest.raises(InputError, match="must be >= 0 and >= 1"):
        R1(weight, every)
