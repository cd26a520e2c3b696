"""Residual networks: sizes, what they begin as, classes, and that they learn."""

import math

import pytest
import torch
from torch import nn

from gan.errors import InputError
from gan.model.losses import RelativisticPairing
from gan.model.penalties import R1R2, refuse_batch_norm
from gan.model.resnet import Discriminator, Generator

SMALL = {"base_channels": 4, "max_channels": 16}


@pytest.mark.parametrize("image_size", [(64, 64), (128, 128), (256, 64), (1024, 256), (96, 80), (128, 120)])
def test_sizes(image_size):
    torch.manual_seed(0)
    images = Generator(image_size, latent_dim=8, **SMALL)(torch.randn(2, 8))
    assert images.shape == (2, 1, *image_size)
    assert float(images.detach().abs().max()) < 1
    assert Discriminator(image_size, **SMALL)(images).shape == (2,)


def test_impossible_sizes_say_what_to_do():
    for network in (Generator, Discriminator):
        with pytest.raises(InputError, match=r"set data.n_frames to a multiple of 8, e.g. 96"):
            network((128, 100))


def test_groups():
    generator = Generator((64, 64), base_channels=8, expansion=2, group_size=16, blocks_per_stage=2)
    groups = [layer.groups for layer in generator.modules() if isinstance(layer, nn.Conv2d) and layer.padding == (1, 1)]
    # Two blocks of each grid, 64, 32, 16 and 8 channels wide and twice that inside; then the layer to the image.
    assert groups == [8, 8, 4, 4, 2, 2, 1, 1, 1]
    with pytest.raises(InputError, match=r"20 channels .* cannot be cut into groups of 8"):
        Generator((64, 64), base_channels=10, expansion=2, group_size=8)


def test_first_images_are_dark_to_the_borders():
    torch.manual_seed(0)
    images = Generator((64, 128))(torch.randn(32, 128)).detach()
    for part in (images, images[..., 0], images[..., -1, :]):
        assert float(part.mean()) == pytest.approx(-0.9, abs=0.02)
    # Nor do the latents' marks fade there.
    assert images[..., 0].std(dim=0).mean() > 0.7 * images.std(dim=0).mean()
    # tanh has a slope of 0.18 there; of 0.1 smoothing leaves a part.
    assert 0.003 < float(images.std(dim=0).mean()) < 0.02


def test_blocks_begin_as_nothing_and_keep_the_variance_inside():
    torch.manual_seed(0)
    discriminator = Discriminator((128, 128))
    blocks = [layer for layer in discriminator.layers if hasattr(layer, "layers")]
    assert len(blocks) == 5
    for block in blocks:
        width = block.layers[0].in_channels
        features = torch.randn(4, width, 16, 16)
        torch.testing.assert_close(block(features), features, rtol=0, atol=0)
        inside = block.layers[:-1](features).detach()[..., 1:-1, 1:-1]
        # Two convolutions, each smaller by 5 ** -1/4.
        assert float(inside.square().mean()) == pytest.approx(1 / 5, rel=0.5)


def test_logits_begin_near_one():
    torch.manual_seed(0)
    logits = torch.stack([Discriminator((64, 64))(torch.randn(64, 1, 64, 64)).detach() for _ in range(8)])
    assert 0.05 < float(logits.square().mean().sqrt()) < 2


def test_every_latent_and_every_pixel_counts():
    torch.manual_seed(0)
    latents = torch.randn(2, 8, requires_grad=True)
    Generator((64, 32), latent_dim=8, **SMALL)(latents)[0].square().sum().backward()
    assert (latents.grad[0] != 0).all()
    assert (latents.grad[1] == 0).all()
    images = torch.randn(1, 1, 64, 32, requires_grad=True)
    Discriminator((64, 32), **SMALL)(images).sum().backward()
    assert (images.grad != 0).all()


def test_no_layer_mixes_images():
    torch.manual_seed(0)
    discriminator = Discriminator((64, 64), **SMALL)
    refuse_batch_norm(discriminator, R1R2(1.0))
    images = torch.randn(3, 1, 64, 64)
    torch.testing.assert_close(discriminator(images)[:1], discriminator(images[:1]))


def test_projection_by_hand():
    torch.manual_seed(0)
    discriminator = Discriminator((64, 64), n_classes=3, **SMALL)
    images, labels = torch.randn(4, 1, 64, 64), torch.tensor([2, 0, 1, 2])
    features = torch.einsum("cij,bcij->bc", discriminator.basis, discriminator.layers(images))
    weight = discriminator.to_logit.weight[0] + discriminator.projection.weight[labels]
    torch.testing.assert_close(discriminator(images, labels), (weight * features).sum(dim=1))
    # Of the size of the other part.
    weights = Discriminator((64, 64), n_classes=50).projection.weight.detach()
    assert float(weights.std()) == pytest.approx(1 / math.sqrt(128), rel=0.05)


def test_labels_change_images():
    torch.manual_seed(0)
    generator = Generator((64, 64), n_classes=3, latent_dim=8, **SMALL)
    one, other = generator(torch.randn(1, 8).repeat(2, 1), torch.tensor([0, 1])).detach()
    assert generator.n_classes == 3
    assert float((one - other).abs().mean()) > 1e-3


@pytest.mark.parametrize("n_classes", [0, 2])
def test_missing_and_superfluous_labels_are_errors(n_classes):
    labels = None if n_classes else torch.zeros(2, dtype=torch.int64)
    networks = Generator((32, 32), n_classes, latent_dim=8, **SMALL), Discriminator((32, 32), n_classes, **SMALL)
    for network, given in zip(networks, (torch.randn(2, 8), torch.randn(2, 1, 32, 32)), strict=True):
        with pytest.raises(ValueError, match=f"a network of {n_classes} classes was called with"):
            network(given, labels)


def test_it_learns_with_its_loss_and_penalty():
    """Each of two classes has a bright half: the generator must find out which, and the rest be dark."""
    torch.manual_seed(0)
    generator, discriminator = Generator((32, 32), 2, 8, **SMALL), Discriminator((32, 32), 2, **SMALL)
    optimizers = [torch.optim.Adam(network.parameters(), 2e-3, (0.0, 0.99)) for network in (generator, discriminator)]
    loss, penalty = RelativisticPairing(), R1R2(0.1)
    labels = torch.arange(8) % 2
    real = torch.full((8, 1, 32, 32), -0.9)
    real[labels == 0, :, :16] = 0.5
    real[labels == 1, :, 16:] = 0.5
    for _ in range(70):
        fake = generator(torch.randn(8, 8), labels)
        judged = loss.discriminator(discriminator(real, labels), discriminator(fake.detach(), labels))
        judged = judged + penalty(lambda images: discriminator(images, labels), real, fake)
        optimizers[1].zero_grad()
        judged.backward()
        optimizers[1].step()
        optimizers[0].zero_grad()
        loss.generator(discriminator(real, labels).detach(), discriminator(fake, labels)).backward()
        optimizers[0].step()
    images = generator(torch.randn(8, 8), labels).detach()
    first_is_brighter = images[:, 0, :16].mean(dim=(1, 2)) - images[:, 0, 16:].mean(dim=(1, 2))
    assert (first_is_brighter[labels == 0] > 0.7).all()
    assert (first_is_brighter[labels == 1] < -0.7).all()
