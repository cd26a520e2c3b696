"""Losses and penalties against numbers worked out by hand."""

import math

import pytest
import torch
from torch import nn

from gan.errors import InputError
from gan.model.dcgan import Discriminator
from gan.model.losses import AdversarialLoss, Hinge, LeastSquares, NonSaturating, RelativisticPairing, Wasserstein
from gan.model.penalties import R1, R1R2, WassersteinGP, refuse_batch_norm


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


REAL, FAKE = torch.tensor([0.5, 3.0]), torch.tensor([-2.0, 0.25])


@pytest.mark.parametrize(
    ("loss", "discriminator", "generator"),
    [
        # 1 - 0.5 and 0 for real; 0 and 1 + 0.25 for fake.
        (Hinge(), 0.25 + 0.625, 0.875),
        # Squares of -0.5 and 2 for real, of -1 and 1.25 for fake; of -3 and -0.75 for the generator.
        (LeastSquares(), (0.25 + 4) / 4 + (1 + 1.5625) / 4, (9 + 0.5625) / 4),
        # Means 1.75 and -0.875.
        (Wasserstein(), -2.625, 0.875),
        # Differences 2.5 and 2.75.
        (
            RelativisticPairing(),
            (math.log1p(math.exp(-2.5)) + math.log1p(math.exp(-2.75))) / 2,
            (math.log1p(math.exp(2.5)) + math.log1p(math.exp(2.75))) / 2,
        ),
    ],
)
def test_by_hand(loss, discriminator, generator):
    assert float(loss.discriminator(REAL, FAKE)) == pytest.approx(discriminator, rel=1e-6)
    assert float(loss.generator(REAL, FAKE)) == pytest.approx(generator, rel=1e-6)


@pytest.mark.parametrize(
    "loss", [loss() for loss in AdversarialLoss.__subclasses__()], ids=lambda loss: type(loss).__name__
)
def test_relative_losses_are_those_that_a_common_shift_does_not_change(loss):
    def gradients(shift):
        real, fake = (REAL + shift).requires_grad_(True), (FAKE + shift).requires_grad_(True)
        return torch.autograd.grad(loss.discriminator(real, fake), (real, fake))

    unchanged = all(torch.equal(*pair) for pair in zip(gradients(0.0), gradients(2.0), strict=True))
    assert unchanged == loss.relative


@pytest.mark.parametrize(
    "loss", [loss() for loss in AdversarialLoss.__subclasses__()], ids=lambda loss: type(loss).__name__
)
def test_losses_pull_apart_and_together(loss):
    real, fake = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    at_real, at_fake = torch.autograd.grad(loss.discriminator(real, fake), (real, fake))
    # Also: 0 is the middle, from where both are pushed alike.
    torch.testing.assert_close(at_real, -at_fake)
    assert (at_real < 0).all()
    (at_fake,) = torch.autograd.grad(loss.generator(real, fake), fake)
    assert (at_fake < 0).all()


def linear_discriminator(weight: torch.Tensor) -> nn.Sequential:
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(len(weight), 1), nn.Flatten(0))
    discriminator[1].weight.data = weight[None].clone()
    return discriminator


# The slope of a linear discriminator is its weights, everywhere; squared: 55.
WEIGHT = torch.arange(6.0)
SLOPE = math.sqrt(55)


@pytest.mark.parametrize(
    ("penalty", "value", "gradient"),
    [
        (R1(weight=3.0, every=4), 12 * 0.5 * 55, 12 * WEIGHT),
        (R1R2(weight=3.0, every=4), 12 * 55, 24 * WEIGHT),
        (WassersteinGP(every=2), 20 * (SLOPE - 1) ** 2, 40 * (SLOPE - 1) * WEIGHT / SLOPE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_penalties_of_a_linear_discriminator(penalty, value, gradient):
    discriminator = linear_discriminator(WEIGHT)
    term = penalty(discriminator, torch.randn(5, 1, 2, 3), torch.randn(5, 1, 2, 3))
    assert float(term.detach()) == pytest.approx(value)
    term.backward()
    torch.testing.assert_close(discriminator[1].weight.grad, gradient[None])


@pytest.mark.parametrize("penalty", [R1(1.0), R1R2(1.0), WassersteinGP(1.0)], ids=lambda value: type(value).__name__)
def test_penalties_are_computed_in_full_precision(penalty):
    torch.manual_seed(0)
    discriminator = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Softplus(), nn.Flatten(), nn.Linear(8 * 36, 1), nn.Flatten(0))
    real, fake = torch.randn(2, 4, 1, 8, 8)

    def term_and_gradients(dtype_of_fake):
        torch.manual_seed(1)
        term = penalty(discriminator, real, fake.to(dtype_of_fake))
        return term.detach(), *torch.autograd.grad(term, list(discriminator.parameters())[:3])

    plain = term_and_gradients(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = term_and_gradients(torch.float32)
        # What a generator gives there.
        rounded = term_and_gradients(torch.bfloat16)
    torch.testing.assert_close(mixed[0], plain[0], rtol=0, atol=0)
    # What comes after, the trainer's backward pass, has the trainer's precision.
    for exact, *others in zip(plain, mixed, rounded, strict=True):
        for near in others:
            assert near.dtype == torch.float32
            assert float((near - exact).norm() / exact.norm()) < 0.01


def test_a_flat_discriminator_gives_no_infinite_gradient():
    discriminator = linear_discriminator(torch.zeros(6))
    for penalty, value in ((R1R2(1.0), 0.0), (WassersteinGP(1.0), 1.0)):
        term = penalty(discriminator, torch.randn(5, 1, 2, 3), torch.randn(5, 1, 2, 3))
        assert float(term.detach()) == value
        (gradient,) = torch.autograd.grad(term, discriminator[1].weight)
        torch.testing.assert_close(gradient, torch.zeros(1, 6))


def test_penalties_leave_the_images_alone():
    real, fake = torch.randn(2, 5, 1, 2, 3)
    generated = fake.requires_grad_(True) * 1.0
    R1R2(1.0)(linear_discriminator(WEIGHT), real, generated).backward()
    assert not real.requires_grad
    assert fake.grad is None


def test_r1_looks_at_real_images_only():
    def discriminator(images):
        return images.square().sum(dim=(1, 2, 3))  # gradient 2x, penalty 2 ||x||^2

    real = torch.ones(2, 1, 1, 3)
    assert float(R1(weight=1.0)(discriminator, real, 100 * real).detach()) == pytest.approx(6.0)


def test_r1r2_looks_at_both():
    def discriminator(images):
        return images.square().sum(dim=(1, 2, 3))

    real = torch.ones(2, 1, 1, 3)
    assert float(R1R2(weight=1.0)(discriminator, real, 2 * real).detach()) == pytest.approx(6.0 + 24.0)


def test_wasserstein_gp_looks_evenly_between_real_and_fake():
    seen = []

    def discriminator(images):
        seen.append(images.detach().clone())
        return images.sum(dim=(1, 2, 3))

    torch.manual_seed(0)
    real, fake = torch.zeros(2000, 1, 1, 3), torch.tensor([1.0, 2.0, 4.0]).expand(2000, 1, 1, 3)
    term = WassersteinGP()(discriminator, real, fake)
    assert float(term.detach()) == pytest.approx(10 * (math.sqrt(3) - 1) ** 2, rel=1e-5)
    place = seen[0][:, 0, 0, 0]
    torch.testing.assert_close(seen[0], place[:, None, None, None] * fake)
    assert float(place.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(place.var()) == pytest.approx(1 / 12, rel=0.1)


def test_batch_norm_is_refused_with_what_to_do():
    batch_norm = Discriminator((32, 32), base_channels=2, normalization="batch")
    with pytest.raises(InputError, match=r"R1R2, which needs .* Discriminator has it; set .*normalization to none or"):
        refuse_batch_norm(batch_norm, R1R2(1.0))
    for normalization in ("none", "spectral"):
        refuse_batch_norm(Discriminator((32, 32), base_channels=2, normalization=normalization), R1R2(1.0))


@pytest.mark.parametrize(("weight", "every"), [(-1.0, 1), (1.0, 0)])
def test_senseless_factors_are_refused(weight, every):
    with pytest.raises(InputError, match="must be >= 0 and >= 1"):
        R1(weight, every)
