"""Networks for every size that can be halved, and a clear word for every one that can't."""

import pytest
import torch
from torch import nn

from gan.errors import InputError
from gan.model.dcgan import Discriminator, Generator, base_grid


@pytest.mark.parametrize(
    ("image_size", "grid", "stages"),
    [
        ((64, 64), (4, 4), 4),
        ((128, 128), (4, 4), 5),
        ((256, 128), (8, 4), 5),
        ((1024, 256), (16, 4), 6),
        ((1024, 128), (32, 4), 5),
        ((64, 512), (4, 32), 4),
        ((96, 80), (6, 5), 4),
        ((128, 120), (16, 15), 3),
    ],
)
def test_sizes(image_size, grid, stages):
    assert base_grid(image_size) == (grid, stages)
    generator = Generator(image_size, latent_dim=8, base_channels=2, max_channels=16)
    discriminator = Discriminator(image_size, base_channels=2, max_channels=16)
    images = generator(torch.randn(2, 8))
    assert images.shape == (2, 1, *image_size)
    assert float(images.detach().abs().max()) <= 1
    assert discriminator(images).shape == (2,)


@pytest.mark.parametrize(
    ("image_size", "message"),
    [
        ((128, 100), "set data.n_frames to a multiple of 8, e.g. 96"),
        ((128, 1), "set data.n_frames to a multiple of 8, e.g. 32"),
        ((1024, 250), "set data.n_frames to a multiple of 32, e.g. 256"),
        ((500, 128), "encode with an n_fft that is a power of two"),
        ((16, 16), "at least 32"),
    ],
)
def test_impossible_sizes_say_what_to_do(image_size, message):
    for network in (Generator, Discriminator):
        with pytest.raises(InputError, match=message):
            network(image_size)


@pytest.mark.parametrize("image_size", [(128, 100), (1024, 250), (64, 33), (128, 1)])
def test_the_advice_works(image_size):
    with pytest.raises(InputError) as refused:
        base_grid(image_size)
    base_grid((image_size[0], int(str(refused.value).rsplit(" ", 1)[1])))


def test_initial_weights_are_the_papers():
    torch.manual_seed(0)
    generator = Generator((64, 64), base_channels=32)
    convolutions = [layer for layer in generator.modules() if isinstance(layer, nn.ConvTranspose2d)]
    norms = [layer for layer in generator.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(convolutions) == 5
    for layer in convolutions:
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
        assert abs(float(layer.weight.detach().mean())) < 0.002
    for layer in norms:
        assert float(layer.weight.detach().mean()) == pytest.approx(1.0, abs=0.01)
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.3)


def test_first_images_are_dark_to_the_borders():
    torch.manual_seed(0)
    images = Generator((64, 32), base_channels=8)(torch.randn(16, 128)).detach()
    assert float(images.mean()) == pytest.approx(-0.9, abs=0.05)
    assert float(images[..., 0].mean()) == pytest.approx(-0.9, abs=0.05)


def test_every_latent_and_every_pixel_counts():
    torch.manual_seed(0)
    generator = Generator((64, 32), latent_dim=8, base_channels=4).eval()
    latents = torch.randn(2, 8, requires_grad=True)
    generator(latents)[0].square().sum().backward()
    assert (latents.grad[0] != 0).all()
    assert (latents.grad[1] == 0).all()
    discriminator = Discriminator((64, 32), base_channels=4)
    images = torch.randn(1, 1, 64, 32, requires_grad=True)
    discriminator(images).sum().backward()
    assert (images.grad != 0).all()


@pytest.mark.parametrize(("normalization", "batch_norms"), [("none", 0), ("batch", 3), ("spectral", 0)])
def test_normalization(normalization, batch_norms):
    discriminator = Discriminator((64, 64), base_channels=4, normalization=normalization)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in discriminator.modules()) == batch_norms
    weights = [layer.weight for layer in discriminator.modules() if isinstance(layer, nn.Conv2d)]
    norms = [float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2)) for weight in weights]
    if normalization == "spectral":
        assert norms == pytest.approx([1.0] * 5, rel=0.1)
    else:
        assert max(norms) < 0.6
